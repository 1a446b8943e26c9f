"""A stand-in for graphs of a GPU: it calls again what was recorded, with its old arguments."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gan_cli.capture import State
from gan_cli.engine import Engine, Graph
from gan_cli.experiment import Experiment
from gan_cli.iteration import Step

Made = TypeVar("Made")


@dataclass
class StandIn(Graph):
    """What a CUDA graph promises: recording computes nothing, replaying all, with what the host said back then.

    `experiment` is whose state recording must leave alone.
    """

    engine: "Pretended"
    num_streams: int
    function: Callable[[], Any] = field(init=False)
    made: Step = field(init=False)

    def record(self, function: Callable[[], Made]) -> Made:
        assert self.engine.experiments, "the test says whose state is kept"
        state = State(self.engine.experiments[-1])
        before = state.copied()
        self.function, made = function, function()
        state.restore(before)
        assert isinstance(made, Step)
        self.made = made
        return made

    def replay(self, seeds: Sequence[int]) -> None:
        streams = self.engine.streams
        assert streams is not None
        assert len(seeds) == self.num_streams
        self.engine.replays.append(list(seeds))
        made = self.function()
        assert [streams.seed_of(number) for number in streams.order] == list(seeds), "those of the streams it enters"
        self.made.terms.copy_(made.terms)
        for player, terms in made.losses.items():
            for name, loss in terms.items():
                self.made.losses[player][name].copy_(loss)


@dataclass(frozen=True)
class Pretended(Engine):
    """A device that says it can capture."""

    experiments: list[Experiment] = field(default_factory=list, compare=False)
    replays: list[list[int]] = field(default_factory=list, compare=False)

    @property
    def has_graphs(self) -> bool:
        return True

    def graph(self, num_streams: int) -> StandIn:
        return StandIn(self, num_streams)

    def warming_up(self) -> Any:
        return nullcontext()
