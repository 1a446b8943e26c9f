"""Where and how tensors are computed: device, precision and rank; nothing else asks torch for them."""

import math
import resource
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import ModuleType
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from gan_cli.errors import UserError
from gan_cli.ranges import Ranged
from gan_cli.ranks import ALONE, Ranks
from gan_cli.seeding import Streams, mix, seed_step

CPU = torch.device("cpu")
Precision = Literal["float32", "tf32", "bfloat16"]
Capture = Literal["auto", True, False]
Made = TypeVar("Made")
single_precision = ContextVar("single_precision", default=False)


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Ranged):
    """How a run computes, `engine` in its config."""

    precision: Precision
    compile: bool
    capture: Capture
    sync_batch_norm: bool


@dataclass(frozen=True)
class Copy:
    """Values on their way from the device to the host; they may be read once they have arrived."""

    values: Tensor
    has_arrived: Callable[[], bool]


class Graph(ABC):
    """Work of the device that is recorded once, and repeated in one go without the host."""

    @abstractmethod
    def record(self, function: Callable[[], Made]) -> Made:
        """What the function returns, in tensors that `replay` fills; nothing is computed."""

    @abstractmethod
    def replay(self, seeds: Sequence[int]) -> None:
        """Computes it, with these seeds for the separate random streams in it, in the order of their entrance."""


class CudaGraph(Graph):
    """A CUDA graph. All draws are from generators that it knows: the default one, and one for each separate stream."""

    def __init__(self, device: torch.device, streams: Streams, num_streams: int) -> None:
        self.device, self.streams = device, streams
        self.graph = torch.cuda.CUDAGraph()
        self.generators = [torch.Generator(device) for _ in range(num_streams)]
        for generator in self.generators:
            self.graph.register_generator_state(generator)

    def record(self, function: Callable[[], Made]) -> Made:
        recording = torch.cuda.graph(
            self.graph,
            pool=graph_memory(self.device),
            stream=recording_stream(self.device),
            capture_error_mode="thread_local",  # what other threads do on the device does not end the recording
        )
        outer = torch.cuda.current_stream(self.device)
        try:
            with torch.cuda.device(self.device), self.streams.recording(self.generators), recording:
                return function()
        finally:
            torch.cuda.set_stream(outer)  # a recording that fails leaves its own stream behind

    def replay(self, seeds: Sequence[int]) -> None:
        for generator, seed in zip(self.generators, seeds, strict=True):
            generator.manual_seed(seed)
        self.graph.replay()


@lru_cache
def graph_memory(device: torch.device) -> Any:
    """One pool for all graphs: they never run at once, and none reads what another has left in it."""
    return torch.cuda.graph_pool_handle()


@lru_cache
def recording_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@dataclass(frozen=True)
class Engine:
    """One process on one device, alone or as one of `ranks`; networks compute in `precision` and return float32.

    With `bfloat16` layers compute in bfloat16 where they can (torch.autocast), from weights in float32. With `tf32` a
    GPU rounds what it multiplies to 10 bits while it trains; `float32` does not, also not in convolutions, where
    PyTorch rounds by default.
    """

    device: torch.device = CPU
    precision: Precision = "float32"
    ranks: Ranks = field(default=ALONE, compare=False)
    compile: bool = False
    capture: Capture = False
    sync_batch_norm: bool = False
    streams: Streams | None = field(default=None, compare=False)

    @property
    def rank(self) -> int:
        return self.ranks.rank

    @property
    def backend(self) -> ModuleType | None:
        """torch's module for the accelerator, such as torch.cuda.

        None on the CPU, and on a device whose module does not answer what the engine asks, such as torch.mps.
        """
        if self.device.type in ("cpu", "meta"):
            return None
        module: ModuleType = torch.get_device_module(self.device)
        return module if hasattr(module, "mem_get_info") else None

    def with_settings(self, settings: EngineSettings) -> "Engine":
        """Raises UserError for what this device cannot do."""
        if settings.precision == "tf32" and self.device.type != "cuda":
            raise UserError("engine.precision=tf32 needs a GPU of NVIDIA: set engine.precision=float32 or bfloat16")
        if self.device.type == "cuda":
            multiply_in_tf32(False)
        if settings.capture is True and not self.has_graphs:
            raise UserError("engine.capture=true needs a GPU of NVIDIA: set engine.capture=auto")
        if settings.capture is True and self.ranks.size > 1:
            raise UserError("engine.capture=true is for one process, whose steps no other waits for: set it to auto")
        if settings.sync_batch_norm and self.device.type != "cuda":
            raise UserError("engine.sync_batch_norm=true needs GPUs, as torch.nn.SyncBatchNorm does: set it to false")
        streams = Streams() if self.has_graphs else None
        return replace(self, **vars(settings), streams=streams)

    @property
    def has_graphs(self) -> bool:
        """Whether the device can repeat recorded work."""
        return self.device.type == "cuda"

    @property
    def captures(self) -> bool:
        """Whether steps are to be captured."""
        return self.has_graphs and self.capture is not False and self.ranks.size == 1

    @property
    def at_rest(self) -> "Engine":
        """The same device for evaluation, which never has a lower precision."""
        return replace(self, precision="float32", compile=False, capture=False, streams=None)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around a step: multiplications in tf32 round, all others, before and after, too, are in float32."""
        with nullcontext() if self.streams is None else self.streams.in_step():
            if self.precision != "tf32":
                yield
                return
            multiply_in_tf32(True)
            try:
                yield
            finally:
                multiply_in_tf32(False)

    def begin_step(self, seed: int, step: int) -> None:
        """Seeds all random generators: the step's draws depend on nothing before it."""
        seed_step(seed, self.rank, step, self.random_generators())
        self.ranks.begin_step(seed, step)
        if self.streams is not None:
            self.streams.begin(mix("streams", seed, self.rank, step))

    def common_draws(self) -> AbstractContextManager[None]:
        """Inside, random draws are the same in all processes that train the run."""
        return self.ranks.common(self.random_generators())

    def graph(self, num_streams: int) -> Graph:
        """An empty one, for work that enters as many separate random streams."""
        assert self.streams is not None
        return CudaGraph(self.device, self.streams, num_streams)

    def warming_up(self) -> AbstractContextManager[object]:
        """Inside, work is queued where graphs are recorded, so that what it sets up is there by then."""
        return on_stream(recording_stream(self.device), self.device)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Inside, layers compute in `precision` where they can."""
        if self.precision != "bfloat16" or single_precision.get():
            yield
            return
        with torch.autocast(self.device.type, torch.bfloat16):
            yield

    @contextmanager
    def single(self) -> Iterator[None]:
        """Inside, layers compute in float32: finite differences and double backward lose too much in bfloat16."""
        before = single_precision.set(True)
        try:
            yield
        finally:
            single_precision.reset(before)

    def compiled(self, network: nn.Module) -> Callable[..., Any]:
        """The network with its operations fused by torch.compile; it draws what it draws without."""
        return torch.compile(network, dynamic=False, options={"fallback_random": True})

    def returned(self, output: Tensor) -> Tensor:
        """A network's output, in the precision of losses."""
        return output.float() if self.precision == "bfloat16" else output

    def random_generators(self) -> list[torch.Generator]:
        """All random generators in use: the CPU's, and the accelerator's if the device is one."""
        if self.backend is None:
            return [torch.default_generator]
        return [torch.default_generator, self.backend.default_generators[self.device.index or 0]]

    def copy_to_host(self, values: Tensor) -> Copy:
        """Starts a copy that nothing waits for; on a CPU the values are there already."""
        if self.backend is None:
            return Copy(values, lambda: True)
        copied = torch.empty_like(values, device=CPU, pin_memory=True)
        copied.copy_(values, non_blocking=True)
        event = self.backend.Event()
        event.record(self.backend.current_stream(self.device))
        return Copy(copied, event.query)

    def holds(self, num_bytes: int) -> bool:
        """Whether the device has room for this data besides networks: at most half of its free memory."""
        return self.backend is None or num_bytes <= self.backend.mem_get_info(self.device)[0] / 2

    def feeds_ahead(self, place: torch.device) -> bool:
        """Whether batches of data at this place are copied to the device while it computes."""
        return self.device.type == "cuda" and place.type == "cpu"

    def send(self, values: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        """Starts copies to the device that it makes beside its work; the result is called where they are needed."""
        stream = copying_stream(self.device)
        with torch.cuda.stream(stream):
            copies = [value.pin_memory().to(self.device, non_blocking=True) for value in values]
            sent = torch.cuda.Event()
            sent.record(stream)

        def received() -> list[Tensor]:
            reader = torch.cuda.current_stream(self.device)
            reader.wait_event(sent)
            for copy in copies:
                copy.record_stream(reader)  # its memory is not used again before it is read
            return copies

        return received

    def peak_memory(self) -> int:
        """Bytes: the most the device has allocated, or the most this process has occupied on a CPU."""
        if self.backend is not None:
            return self.backend.max_memory_allocated(self.device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def gpu_name(self) -> str | None:
        """The model of the accelerator; None on a CPU."""
        return None if self.backend is None else self.backend.get_device_name(self.device)

    def num_threads(self) -> int:
        """Of the CPU, for one operation."""
        return torch.get_num_threads()

    def use_threads(self, count: int) -> None:
        """Of the CPU, for one operation, from now on."""
        torch.set_num_threads(count)

    def gain_of_threads(self) -> float:
        """How much faster all threads convolve than one, from short bursts: below 1 where other programs run.

        Infinite where there is nothing to gain: with one thread, and on an accelerator.
        """
        threads = torch.get_num_threads()
        if threads == 1 or self.device.type != "cpu":
            return math.inf
        try:
            bursts = [(burst(1), burst(threads)) for _ in range(3)]
        finally:
            torch.set_num_threads(threads)
        alone, together = map(min, zip(*bursts, strict=True))
        return alone / together


def burst(threads: int) -> float:
    """Seconds of some convolutions like those of a small network, about 10 ms."""
    torch.set_num_threads(threads)
    images, kernel = torch.zeros(32, 32, 16, 16), torch.zeros(32, 32, 3, 3)
    torch.conv2d(images, kernel)
    started = time.perf_counter()
    for _ in range(5):
        torch.conv2d(images, kernel)
    return time.perf_counter() - started


@lru_cache
def copying_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def on_stream(stream: torch.cuda.Stream, device: torch.device) -> Iterator[None]:
    """Inside, work is queued on this stream, after all before it; what comes later waits for it."""
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


def choose_engine(device: str, ranks: Ranks = ALONE) -> Engine:
    """`auto` is a GPU if there is one, each process's own; raises UserError for a device that this machine lacks."""
    engine = Engine(choose_device(own_device(device, ranks)), ranks=ranks)
    if engine.device.type == "cuda":
        multiply_in_tf32(False)
        if engine.device.index is not None:
            torch.cuda.set_device(engine.device)  # where generators of graphs keep their seeds
    return engine


def own_device(name: str, ranks: Ranks) -> str:
    """The GPU of this process, by its number on this machine, where several train together and a GPU is meant."""
    if ranks.size == 1 or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{ranks.local_rank}"


def multiply_in_tf32(allowed: bool) -> None:
    """Whether a GPU rounds what it multiplies in float32, in matrices and convolutions.

    These switches set the newer ones of `fp32_precision`, too. The other way round, PyTorch raises an error wherever
    something reads these, as its compiler does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions recommend the newer ones
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def choose_device(name: str) -> torch.device:
    """`auto` is a GPU if there is one; raises UserError for a device that this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} is not available on this machine: use device=cpu or device=auto") from error
    return device


def num_devices() -> int:
    """The number of GPUs that this process may use."""
    return torch.cuda.device_count()
