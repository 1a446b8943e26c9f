"""Extra passes through networks that do not change statistics, singular vectors and random state."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import ParametrizationList

from gan_cli.engine import Engine
from gan_cli.seeding import mix, reseeded


@contextmanager
def random_stream(key: str, engine: Engine) -> Iterator[None]:
    """Inside, random draws come from a separate stream, on the CPU and the engine's device; then the state is restored.

    The stream depends on `key` and on the outer random state: the same key gives the same draws until something is
    drawn outside. (torch.manual_seed would seed every kind of device, which is slow.) In a step on a GPU it depends on
    the step and on how many streams were entered before, which a captured graph can repeat; see `Streams`.
    """
    generators, streams = engine.random_generators(), engine.streams
    if streams is not None and streams.recorded is not None:
        outer = generators[-1].graphsafe_get_state()
        generators[-1].graphsafe_set_state(next(streams.recorded))
        try:
            yield
        finally:
            generators[-1].graphsafe_set_state(outer)
        return
    digests = [sha256(generator.get_state().numpy().tobytes()).hexdigest() for generator in generators]
    in_step = streams is not None and streams.active
    seed = streams.entered(key, "".join(digests)) if streams is not None and in_step else mix(key, *digests)
    with reseeded(generators, seed):
        yield


class OwnStream:
    """A context in which random draws, on the CPU and the engine's device, come from a stream of its own.

    Each time it is entered, the stream goes on where it was left.
    """

    def __init__(self, seed: int, engine: Engine) -> None:
        torch.manual_seed(seed)
        self.generators = engine.random_generators()
        self.leave()

    def leave(self, *_: object) -> None:
        self.states = [generator.get_state() for generator in self.generators]

    def __enter__(self) -> None:
        for generator, state in zip(self.generators, self.states, strict=True):
            generator.set_state(state)

    __exit__ = leave


@contextmanager
def frozen_buffers(*networks: nn.Module) -> Iterator[None]:
    """Inside, batch norm uses the batch's statistics without tracking them, and spectral norm its current vectors."""
    modules = [module for network in networks for module in network.modules()]
    norms = [module for module in modules if isinstance(module, _NormBase)]
    tracking = [module for module in norms if module.track_running_stats and module.training]
    momenta = [module.momentum for module in tracking]
    iterating = [
        parametrization
        for module in modules
        if isinstance(module, ParametrizationList)
        for parametrization in module
        if parametrization.training
    ]
    for module in tracking:  # batch norm then ignores its buffers; instance norm still writes them, with no weight
        module.track_running_stats, module.momentum = False, 0.0
    for parametrization in iterating:
        parametrization.training = False
    try:
        yield
    finally:
        for module, momentum in zip(tracking, momenta, strict=True):
            module.track_running_stats, module.momentum = True, momentum
        for parametrization in iterating:
            parametrization.training = True


@contextmanager
def kept_buffers(network: nn.Module) -> Iterator[None]:
    """Afterwards all buffers are what they were, also those that a pass in training writes."""
    before = {name: value.clone() for name, value in network.named_buffers()}
    try:
        yield
    finally:
        for name, value in network.named_buffers():
            value.copy_(before[name])
