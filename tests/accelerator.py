"""A device that computes on the CPU, and refuses what an accelerator refuses or waits for.

Its tensors hold one on the CPU and show another device. torch's API for such a backend is experimental, and renames one
for the whole process: these functions run in a process of their own, see `test_accelerator.py`. It cannot show speed,
kernels that a device lacks, streams, nor what a captured graph forbids besides.
"""

import atexit
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from gan_cli import cli
from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine, choose_engine
from gan_cli.evaluation import generate
from gan_cli.regularizers.regularizer import Bound
from gan_cli.trainer import train

from .graphs import Made, Pretended, StandIn

KIND = "fakegpu"
DEVICE = f"{KIND}:0"
COPIES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default}
INDEXED |= {torch.ops.aten._index_put_impl_.default, torch.ops.aten._unsafe_index.Tensor}
LISTS = ("aten::_foreach_", "aten::_fused_")  # as pointwise operations, they take numbers that are on the CPU


class RefusedError(Exception):
    """What an accelerator refuses, or would wait for inside a step."""


@dataclass
class Watched:
    """Whether a step is running, and the lines that have copied values to the device in it."""

    in_step: bool = False
    copies: list[str] = field(default_factory=list)


WATCHED = Watched()


class OnDevice(Tensor):
    """A tensor that shows `DEVICE`; what it holds is `inner`, on the CPU."""

    inner: Tensor  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnDevice":
        shown: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        shown.inner = inner
        return shown

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnDevice({self.inner!r})"

    def tolist(self) -> Any:
        if WATCHED.in_step:
            raise RefusedError(f"the host reads a value inside a step: tolist at {line()}")
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        device = kwargs.get("device")
        to_host = device is not None and torch.device(device).type != KIND
        if func in COPIES:
            to_host = check_copy(args, kwargs, to_host)
        else:
            check_devices(func, tensors)
            check_shape(func, args)
        inner_args, inner_kwargs = tree_map_only(OnDevice, lambda shown: shown.inner, (args, kwargs))
        if device is not None:
            inner_kwargs |= {"device": "cpu", "pin_memory": False}
        made = func(*inner_args, **inner_kwargs)
        if WATCHED.in_step and any(not isinstance(leaf, Tensor | None) for leaf in tree_leaves(made)):
            raise RefusedError(f"the host reads a value inside a step: {func} at {line()}")
        if to_host:
            return made
        return return_and_correct_aliasing(func, args, kwargs, tree_map_only(Tensor, OnDevice, made))


def check_copy(args: Sequence[Any], kwargs: Mapping[str, Any], to_host: bool) -> bool:
    """Counts a copy to the device, refuses one that waits for it; returns whether the result is on the host."""
    onto, *source = args
    from_device = isinstance(source[0] if source and isinstance(source[0], Tensor) else onto, OnDevice)
    to_host = to_host or not isinstance(onto, OnDevice)
    waits = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
    if from_device and to_host and waits and WATCHED.in_step:
        raise RefusedError(f"the host reads a value inside a step: a copy that is waited for at {line()}")
    if not from_device and WATCHED.in_step:
        WATCHED.copies.append(line())
    return to_host


def check_devices(func: Any, tensors: Sequence[Tensor]) -> None:
    """Refuses tensors on two devices, but for a number beside a pointwise operation's; indices are copied."""
    for tensor in tensors:
        if isinstance(tensor, OnDevice):
            continue
        if func in INDEXED:
            WATCHED.copies += [line()] if WATCHED.in_step else []
        elif tensor.dim() or not (torch.Tag.pointwise in func.tags or func.name().startswith(LISTS)):
            raise RefusedError(f"a tensor on the CPU meets one on the device: {func} at {line()}")


def check_shape(func: Any, args: Sequence[Any]) -> None:
    """Refuses results whose shape depends on values, inside a step."""
    if not WATCHED.in_step:
        return
    depends = torch.Tag.dynamic_output_shape in func.tags
    if func in INDEXED:
        depends = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if depends:
        raise RefusedError(f"a shape depends on values inside a step: {func} at {line()}")


def line() -> str:
    """The innermost line that is not of torch or of this module."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (frame.f_code.co_filename == __file__ or "/torch/" in frame.f_code.co_filename):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


class Event:
    def record(self, stream: Any) -> None: ...

    def query(self) -> bool:
        return True


class Backend(_DummyBackendModule):
    """What torch and the engine ask of a device."""

    default_generators = (torch.default_generator,)
    Event = Event
    free_memory = 2**40

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def current_stream(self, device: torch.device) -> None: ...

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        return self.free_memory, 2**40

    def max_memory_allocated(self, device: torch.device) -> int:
        return 0

    def get_device_name(self, device: torch.device) -> str:
        return "a fake GPU"


LIBRARY = torch.library.Library("aten", "IMPL")
EVERY = torch.library.Library("_", "IMPL")
AUTOCAST = "AutocastPrivateUse1"  # type: ignore[attr-defined]
LAYERS = (
    "conv2d",
    "conv_transpose2d.input",
    "linear",
    "matmul",
    "mm",
    "addmm",
    "bmm",
)  # in low precision under autocast
BACKEND = Backend()


def install() -> None:
    """Gives this process the device `fakegpu`; once."""
    torch.set_num_threads(1)
    atexit.register(gc.freeze)  # the process ends without looking at all that torch has made
    _setup_privateuseone_for_python_backend(KIND, backend_module=BACKEND)
    torch.__future__.set_swap_module_params_on_conversion(True)  # to another layout: `inner` would be left behind
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor([1.0], device=...) is then a copy like others

    def empty(size: Sequence[int], *, dtype: Any = None, memory_format: Any = None, **rest: Any) -> OnDevice:
        return OnDevice(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))

    def empty_strided(size: Sequence[int], stride: Sequence[int], *, dtype: Any = None, **rest: Any) -> OnDevice:
        return OnDevice(torch.empty_strided(size, stride, dtype=dtype))

    LIBRARY.impl("empty.memory_format", empty, "PrivateUse1")
    LIBRARY.impl("empty_strided", empty_strided, "PrivateUse1")
    EVERY.fallback(torch.library.fallthrough_kernel, AUTOCAST)
    for name in LAYERS:
        LIBRARY.impl(name, in_bfloat16(name), AUTOCAST)


def in_bfloat16(name: str) -> Callable[..., Any]:
    """The operation as it is under autocast."""
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def cast(given: Tensor) -> Tensor:
        return given.to(torch.bfloat16) if given.is_floating_point() else given

    def cast_first(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):  # type: ignore[attr-defined]
            return operation(*tree_map_only(Tensor, cast, args), **tree_map_only(Tensor, cast, kwargs))

    return cast_first


@contextmanager
def inside_step() -> Iterator[None]:
    """Inside, nothing may be read on the host, and copies to the device are counted."""
    WATCHED.in_step = True
    try:
        yield
    finally:
        WATCHED.in_step = False


def check_network(network: nn.Module, inputs: Sequence[Any]) -> None:
    """Refuses a network's pass on the CPU, which would be slow beside an idle device."""
    if any(isinstance(each, Tensor) and not isinstance(each, OnDevice) for each in inputs):
        raise RefusedError(f"{type(network).__name__} computes on the CPU at {line()}")


def two_steps(overrides: Sequence[str], planted: Bound | None = None, free_memory: int = 2**40) -> None:
    """Two real steps; raises RefusedError for what an accelerator refuses, or for copies besides those that feed it.

    A step is fed by the numbers of its images; where the data does not fit on the device, by the images and their
    labels. Constants may be copied in the first step.
    """
    BACKEND.free_memory = free_memory
    experiment = build_experiment(config_of([*overrides, "steps=2"]), choose_engine(KIND))
    experiment.bounds.update({} if planted is None else {"planted": planted})
    steps = train(experiment)
    for _ in range(2):
        WATCHED.copies.clear()
        with inside_step():
            next(steps)
    feeding = 1 if isinstance(experiment.training_set.values, OnDevice) else 2
    if len(WATCHED.copies) > feeding:
        raise RefusedError(f"{len(WATCHED.copies)} copies to the device where {feeding} feed it: {WATCHED.copies}")


class OfDevice(StandIn):
    """A graph of this device: nothing is copied in it, nor in any way read or shaped by values."""

    def record(self, function: Callable[[], Made]) -> Made:
        return super().record(lambda: alone(function))


def alone(function: Callable[[], Made]) -> Made:
    WATCHED.copies.clear()
    with inside_step():
        made = function()
    if WATCHED.copies:
        raise RefusedError(f"{len(WATCHED.copies)} copies to the device in a captured step: {WATCHED.copies}")
    return made


class Capturing(Pretended):
    """An engine of this device with graphs."""

    def graph(self, num_streams: int) -> StandIn:
        return OfDevice(self, num_streams)


def captured_steps(overrides: Sequence[str], planted: Bound | None = None) -> int:
    """How many steps came from a graph, of eight of which the first are eager; raises CaptureError for a refusal."""
    engine = Capturing(choose_engine(KIND).device)
    experiment = build_experiment(config_of([*overrides, "steps=8", "engine.capture=true"]), engine)
    experiment.bounds.update({} if planted is None else {"planted": planted})
    engine.experiments.append(experiment)
    for _ in train(experiment):
        pass
    return len(engine.replays)


class OneGenerator(Engine):
    """An engine whose random streams depend on the CPU's generator alone, on every device."""

    def random_generators(self) -> list[torch.Generator]:
        return [torch.default_generator]


def losses(overrides: Sequence[str], device: str) -> list[dict[str, dict[str, float]]]:
    """The losses of every step: by each player's name, then by the loss's."""
    experiment = build_experiment(config_of(overrides), OneGenerator(torch.device(device)))
    return [
        {player: {name: loss.item() for name, loss in terms.items()} for player, terms in step.losses.items()}
        for step in train(experiment)
    ]


def place_of_generated(overrides: Sequence[str], free_memory: int) -> str:
    """Where generated images wait to be scored."""
    BACKEND.free_memory = free_memory
    experiment = build_experiment(config_of(overrides), choose_engine(KIND))
    return generate(experiment.gan, 300, 0, None, experiment.dataset.stored).values.device.type


def command(name: str, words: Sequence[str], folder: str, device: str = KIND) -> tuple[int, str]:
    """Runs a command in this folder: its exit code and all that it prints. No network may compute on the CPU."""
    printed = io.StringIO()
    with ExitStack() as held:
        held.enter_context(chdir(folder))
        held.enter_context(mock.patch.dict(os.environ, {"GAN_CLI_CACHE": f"{folder}/cache"}))
        held.enter_context(mock.patch.object(sys, "argv", [f"gan-{name}", *words, f"device={device}"]))
        held.enter_context(redirect_stdout(printed))
        held.enter_context(redirect_stderr(printed))
        held.callback(register_module_forward_pre_hook(check_network).remove)
        try:
            {"train": cli.train, "eval": cli.evaluate, "sample": cli.sample}[name]()
        except SystemExit as leaving:
            return int(leaving.code or 0), printed.getvalue()
    return 0, printed.getvalue()
