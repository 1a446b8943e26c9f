"""What a run needs before it is trained: its steps are computed on tensors that have a size and no values."""

import math
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from gan_cli.engine import Engine, EngineSettings
from gan_cli.experiment import Experiment
from gan_cli.feed import Fed, num_labelled
from gan_cli.iteration import iteration
from gan_cli.kept import forget
from gan_cli.part import Stateful, nested
from gan_cli.regularizers.regularizer import Bound, Regularizer
from gan_cli.schedule import value_at


@dataclass(frozen=True)
class Estimate:
    """Bytes on the device, and FLOPs.

    `weights` are those of both networks, of the moving average and of other parts with state; `optimizers` their
    state; `step` what a step needs besides at its worst, gradients included. `flops` are those of a step, averaged over
    lazy regularizers: two for each multiplication in convolutions and matrix products, forward and backward; other
    operations are not counted.
    """

    parameters: dict[str, int]  # of each player's network
    weights: int
    optimizers: int
    step: int
    flops: float

    @property
    def memory(self) -> int:
        return self.weights + self.optimizers + self.step


class Sizes(Engine):
    """An engine on the CPU for tensors without values, which no random generator draws."""

    def with_settings(self, settings: EngineSettings) -> "Sizes":
        """In the precision of the run on its own device; steps are not captured."""
        return replace(self, precision=settings.precision)

    def random_generators(self) -> list[torch.Generator]:
        return []


class Storages(TorchDispatchMode):
    """Counts the bytes of all tensors made inside that are still there, and the most of them at any time.

    Views count once, with what they view. What an operation needs within itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.see(tensor.untyped_storage())
        return made

    def see(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place not in self.known:
            self.known.add(place)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self.forget, place, size)

    def forget(self, place: int, size: int) -> None:
        self.known.discard(place)
        self.bytes -= size


class Flops(TorchDispatchMode):
    """Counts as torch's FlopCounterMode, which looks at modules besides, and then cannot follow a double backward."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=made)
        return made


@contextmanager
def without_values() -> Iterator[None]:
    """Inside, tensors have a size, a type and a device, and nothing is computed or allocated."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        forget()  # what is kept of tensors without values is no use to others


def estimated(experiment: Experiment) -> Estimate:
    """What a run of the experiment needs, whose engine is of `Sizes`; its weights and its optimizers are used up."""
    with without_values():
        with Storages() as storages:
            drop_values(experiment)
            take_step(experiment, 0)  # optimizers have no state before it
            storages.peak = 0
            for step in worst_steps(experiment):
                take_step(experiment, step)
        flops = mean_flops(experiment)
    weights = num_bytes({**experiment.gan.parts(), **experiment.bounds})
    optimizers = num_bytes({player.name: player.optimizer for player in experiment.players})
    parameters = {player.name: sum(map(Tensor.numel, player.network.parameters())) for player in experiment.players}
    return Estimate(parameters, weights, optimizers, storages.peak - weights - optimizers, flops)


def drop_values(experiment: Experiment) -> None:
    """Puts tensors of the same sizes in place of all weights and buffers, also in the optimizers."""
    roots = [*experiment.gan.networks().values(), *experiment.power_networks.values(), *experiment.leaves]
    parts = [part for root in roots for _, part in nested("", root) if isinstance(part, nn.Module)]
    made: dict[Tensor, Tensor] = {}
    for module in {each: None for part in parts for each in part.modules()}:
        places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for tensors in places:
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = made[tensor] = made.get(tensor, sized(tensor))
    for player in experiment.players:
        for group in player.optimizer.param_groups:
            group["params"] = [made[parameter] for parameter in group["params"]]


def sized(tensor: Tensor) -> Tensor:
    empty = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def take_step(experiment: Experiment, step: int) -> None:
    """The step with this number, from 0, on images of the right size."""
    settings, shape = experiment.settings, experiment.training_set.image_shape
    labelled = num_labelled(experiment)
    count = sum(player.num_turns * (player.batch_size + labelled) for player in experiment.players)
    fed = Fed(torch.empty(count, *shape, dtype=experiment.dataset.stored), torch.zeros(count, dtype=torch.long))
    for player in experiment.players:
        player.set_schedules(step)
    with experiment.game.engine.training():
        iteration(experiment, step, fed, value_at(settings.ema_decay, step))


def lazy(experiment: Experiment) -> dict[str, Regularizer]:
    """Regularizers that are not added at every turn."""
    return {n: bound for n, bound in experiment.bounds.items() if isinstance(bound, Regularizer) and bound.every > 1}


def due_step(experiment: Experiment, player: str, every: int) -> int:
    """The first step in which the player's turn `every`, counted from 1, is played."""
    turns = {each.name: each.num_turns for each in experiment.players}
    return (every - 1) // turns[player]


def worst_steps(experiment: Experiment) -> list[int]:
    """Steps of the run among which are those that need most memory: all lazy regularizers of a player are due in one.

    Where the run ends before, each of them is.
    """
    bounds = lazy(experiment).values()
    steps = {1}
    for player in experiment.players:
        every = [bound.every for bound in bounds if bound.player == player.name]
        all_due = due_step(experiment, player.name, math.lcm(*every))
        each_due = [due_step(experiment, player.name, one) for one in every]
        steps |= {all_due} if all_due < experiment.settings.steps else set(each_due)
    return sorted(steps)


def mean_flops(experiment: Experiment) -> float:
    """Of a step without lazy regularizers, and the share of it that each of those adds."""

    def flops(step: int, bounds: Mapping[str, Bound]) -> int:
        with Flops() as counted:
            take_step(replace(experiment, bounds=dict(bounds)), step)
        return counted.total

    rare = lazy(experiment)
    eager = {name: bound for name, bound in experiment.bounds.items() if name not in rare}
    plain = flops(1, eager)
    total = float(plain)
    turns = {player.name: player.num_turns for player in experiment.players}
    for name, bound in rare.items():
        step, num_turns = due_step(experiment, bound.player, bound.every), turns[bound.player]
        times_due = (step + 1) * num_turns // bound.every - step * num_turns // bound.every
        added = flops(step, eager | {name: bound}) - plain
        total += added / times_due * num_turns / bound.every
    return total


def num_bytes(parts: Mapping[str, object]) -> int:
    """Of all tensors in the state of these parts."""
    states = [part.state_dict() for part in parts.values() if isinstance(part, Stateful)]
    return sum(tensor.nbytes for tensor in tree_leaves(states) if isinstance(tensor, Tensor))
