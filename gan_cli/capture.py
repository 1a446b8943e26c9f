"""Whole steps from CUDA graphs: recorded for each pattern of lazy penalties, compared with eager ones, repeated."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from gan_cli.engine import Graph
from gan_cli.errors import EndError, one_line
from gan_cli.experiment import Experiment, Player
from gan_cli.feed import Fed
from gan_cli.iteration import Step, iteration
from gan_cli.regularizers.regularizer import Bound, Regularizer
from gan_cli.schedule import Schedule

EAGER = 3  # steps before the first recording: libraries and optimizers set themselves up; one for each later pattern
COMPARED = 3  # steps of each pattern that are computed in both ways
MOST_PATTERNS = 16  # a graph holds memory; steps of more patterns are eager
TOLERANCE = 0.1  # of a step: a bias before batch norm moves by the sign of rounding errors, a wrong draw moves all

Pattern = tuple[bool, ...]


class CaptureError(EndError):
    """A step cannot be captured, and the run asks for it; the message says why."""


class Dial(Schedule):
    """A schedule whose value is in a tensor, which a graph reads at each step."""

    def __init__(self, schedule: Schedule, device: torch.device) -> None:
        self.schedule = schedule
        self.value = torch.zeros((), device=device)

    def turn_to(self, step: int) -> None:
        self.value.fill_(self.schedule.at(step))

    def at(self, step: int) -> Tensor:  # type: ignore[override]
        return self.value


@dataclass
class Recording:
    """The graph of one pattern, what it fills, and the numbers of the random streams that it enters."""

    order: list[int] | None = None
    graph: Graph | None = None
    made: Step | None = None
    gradients: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)
    compared: int = 0


class Captured:
    """`iteration` of an experiment, from graphs as soon as they are known to compute the same.

    The turn that it returns is overwritten at the next step. What does not work is said in one warning, and steps are
    eager from then on; with `engine.capture=true` it raises CaptureError.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.engine = experiment, experiment.game.engine
        self.decay = torch.zeros((), device=self.engine.device)
        self.fed: Fed | None = None
        self.recordings: dict[Pattern, Recording] = {}
        self.num_eager = 0
        self.capturing = True
        for reason in obstacles(experiment):
            self.give_up(reason)
        self.dials = install_dials(experiment)
        for player in experiment.players:
            prepare(player, self.engine.device)

    def __call__(self, step: int, fed: Fed, decay: float) -> Step:
        for dial in self.dials:
            dial.turn_to(step)
        self.decay.fill_(decay)
        pattern = due(self.experiment, step)
        known = pattern in self.recordings or len(self.recordings) < MOST_PATTERNS
        if not self.capturing or not known:
            return iteration(self.experiment, step, fed, self.decay)
        self.fed = self.fed or Fed(torch.empty_like(fed.values), torch.empty_like(fed.labels))
        self.fed.values.copy_(fed.values)
        self.fed.labels.copy_(fed.labels)
        found = self.recordings.setdefault(pattern, Recording())
        if found.order is None or self.num_eager < EAGER:
            self.num_eager += 1
            made = self.eager(step)
            found.order = self.order()
            return made
        if found.graph is None:
            try:
                self.record(found, step)
            except Exception as error:
                self.give_up(one_line(error))
                self.begin(step)
                return self.eager(step)
            self.begin(step)
        if found.compared < COMPARED:
            found.compared += 1
            return self.compared(found, step)
        return self.replayed(found, step)

    def begin(self, step: int) -> None:
        self.engine.begin_step(self.experiment.settings.seed, step)

    def order(self) -> list[int]:
        assert self.engine.streams is not None
        return list(self.engine.streams.order)

    def eager(self, step: int) -> Step:
        assert self.fed is not None
        with self.engine.warming_up():
            return iteration(self.experiment, step, self.fed, self.decay)

    def record(self, found: Recording, step: int) -> None:
        assert self.fed is not None
        assert found.order is not None
        fed, graph = self.fed, self.engine.graph(len(found.order))
        found.made = graph.record(lambda: iteration(self.experiment, step, fed, self.decay))
        found.graph = graph
        found.gradients = [
            (weight, weight.grad) for player in self.experiment.players for weight in player.network.parameters()
        ]

    def replayed(self, found: Recording, step: int) -> Step:
        assert found.graph is not None
        assert found.order is not None
        assert found.made is not None
        assert self.engine.streams is not None
        found.graph.replay([self.engine.streams.seed_of(number) for number in found.order])
        for weight, gradient in found.gradients:
            weight.grad = gradient
        made = found.made
        return replace(
            made,
            number=step + 1,
            losses={player: copies(terms) for player, terms in made.losses.items()},
            scores=copies(made.scores),
            terms=made.terms.clone(),
        )

    def compared(self, found: Recording, step: int) -> Step:
        """The step in both ways from the same state; if they differ, what the eager one made is kept."""
        state = State(self.experiment)
        try:
            before, after = state.copied(), state.copied()
        except torch.OutOfMemoryError:
            self.give_up("there is no memory left to compare captured steps with eager ones")
            return self.eager(step)
        expected = self.eager(step)
        torch._foreach_copy_(after, state.tensors)
        state.restore(before)
        self.begin(step)
        made = self.replayed(found, step)
        if not expected.terms.isfinite().all():  # the run ends; there is nothing to compare
            return made
        reason = state.difference(before, after) or difference_of(
            "the losses", [expected.terms], [made.terms], [torch.zeros_like(made.terms)]
        )
        if not reason:
            return made
        state.restore(after)
        self.give_up(reason)
        return expected

    def give_up(self, reason: str) -> None:
        """From now on steps are eager; says why, once."""
        if not self.capturing:
            return
        self.capturing = False
        self.recordings.clear()
        if self.engine.capture is True:
            raise CaptureError(f"engine.capture=true, but steps cannot be captured: {reason}; set engine.capture=auto")
        warnings.warn(f"steps are not captured in CUDA graphs, and slower: {reason}", stacklevel=4)


def copies(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in values.items()}


def obstacles(experiment: Experiment) -> Iterator[str]:
    """Why a step cannot be captured, as far as its parts say so: what a graph would not notice when it changes."""
    for player in experiment.players:
        for group, key, _ in player.schedules:
            settings = player.optimizer.param_groups[group]
            if key != "lr" or "capturable" not in settings:
                yield f"{player.name}_optimizer.{key} changes while training"
    for name, bound in experiment.bounds.items():
        if type(bound).term not in (Bound.term, Regularizer.term):
            yield f"regularizer.{name} has a `term` of its own, which may depend on the number of the turn"


def install_dials(experiment: Experiment) -> list[Dial]:
    """Puts the value of every schedule of a part in a tensor."""
    found = []
    for part in experiment.leaves:
        for name, value in vars(part).items():
            if isinstance(value, Schedule):
                dial = value if isinstance(value, Dial) else Dial(value, experiment.game.engine.device)
                object.__setattr__(part, name, dial)  # parts are frozen
                found.append(dial)
    return found


def prepare(player: Player, device: torch.device) -> None:
    """Keeps the optimizer's counters and a rate that changes on the device."""
    optimizer = player.optimizer
    optimizer._warned_capturable_if_run_uncaptured = True  # the first steps are
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
    for number, key, _ in player.schedules:
        settings = optimizer.param_groups[number]
        if not isinstance(settings[key], Tensor) and "capturable" in settings and key == "lr":
            settings[key] = torch.tensor(settings[key], device=device)
    for state in optimizer.state.values():  # of a run that is continued
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].to(device)


def due(experiment: Experiment, step: int) -> Pattern:
    """Which terms each turn of the step has."""
    return tuple(
        bound.due(number + 1)
        for player in experiment.players
        for number in range(step * player.num_turns, (step + 1) * player.num_turns)
        for bound in experiment.bounds.values()
        if bound.player == player.name
    )


class State:
    """Every tensor that a step changes, under a name for those that are compared together."""

    def __init__(self, experiment: Experiment) -> None:
        named = [
            (f"{part}'s {key}" if part.endswith("_optimizer") else part, value)
            for part, held in experiment.parts().items()
            for key, value in tensors_of("", held.state_dict())
        ]
        self.names, self.tensors = [name for name, _ in named], [value for _, value in named]

    def copied(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self.tensors]

    def restore(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self.tensors, values)

    def difference(self, before: list[Tensor], expected: list[Tensor]) -> str:
        """Where the present state is not the expected one, given how far that is from `before`; empty if it is."""
        for name in dict.fromkeys(self.names):
            old, wanted, found = (
                [value for other, value in zip(self.names, values, strict=True) if other == name]
                for values in (before, expected, self.tensors)
            )
            if reason := difference_of(f"the {name}", wanted, found, old):
                return reason
        return ""


def difference_of(what: str, expected: list[Tensor], found: list[Tensor], before: list[Tensor]) -> str:
    change, error, size = distance(expected, before), distance(found, expected), distance(expected, None)
    if error <= TOLERANCE * change + 1e-6 * size:
        return ""
    share = f" by {error / change:.0%} of what a step changes" if change else ", though nothing should change"
    return f"a captured step differs from an eager one in {what}{share}"


def distance(values: list[Tensor], others: list[Tensor] | None) -> float:
    """The Euclidean one of all values together, in float64; to zero without others."""
    against = others or [torch.zeros((), device=value.device) for value in values]
    pairs = zip(values, against, strict=True)
    return torch.stack([(value.double() - other.double()).norm() for value, other in pairs]).norm().item()


def tensors_of(key: str, state: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a state, with the last of its keys."""
    if isinstance(state, Tensor):
        yield key, state
    elif isinstance(state, Mapping):
        for name, value in state.items():
            yield from tensors_of(str(name), value)
