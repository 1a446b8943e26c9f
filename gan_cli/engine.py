"""Where and how tensors are computed: device, precision and rank; nothing else asks torch for them."""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from gan_cli.errors import UserError
from gan_cli.ranges import Ranged

CPU = torch.device("cpu")
Precision = Literal["float32", "tf32", "bfloat16"]
single_precision = ContextVar("single_precision", default=False)


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Ranged):
    """How a run computes, `engine` in its config."""

    precision: Precision


@dataclass(frozen=True)
class Copy:
    """Values on their way from the device to the host; they may be read once they have arrived."""

    values: Tensor
    has_arrived: Callable[[], bool]


@dataclass(frozen=True)
class Engine:
    """One process on one device; networks compute in `precision` and return float32.

    With `bfloat16` layers compute in bfloat16 where they can (torch.autocast), from weights in float32. With `tf32` a
    GPU rounds what it multiplies to 10 bits while it trains; `float32` does not, also not in convolutions, where
    PyTorch rounds by default.
    """

    device: torch.device = CPU
    precision: Precision = "float32"
    rank: int = 0

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
        return replace(self, precision=settings.precision)

    @property
    def at_rest(self) -> "Engine":
        """The same device for evaluation, which never has a lower precision."""
        return replace(self, precision="float32")

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around a step: multiplications in tf32 round, all others, before and after, too, are in float32."""
        if self.device.type != "cuda":
            yield
            return
        multiply_in("tf32" if self.precision == "tf32" else "ieee")
        try:
            yield
        finally:
            multiply_in("ieee")

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


def choose_engine(device: str) -> Engine:
    """`auto` is a GPU if there is one; raises UserError for a device that this machine lacks."""
    engine = Engine(choose_device(device))
    if engine.device.type == "cuda":
        multiply_in("ieee")
    return engine


def multiply_in(precision: Literal["ieee", "tf32"]) -> None:
    """How a GPU rounds what it multiplies in float32, in matrices and convolutions."""
    torch.backends.cuda.matmul.fp32_precision = precision
    torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]


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
