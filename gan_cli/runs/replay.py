"""A run computed again from its own record: what it would write is handed out instead, and nothing is written."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan_cli.config.build import (
    assemble,
    build_dataset,
    build_scorer,
    check_scorer,
    engine_settings,
    load_training_set,
)
from gan_cli.config.nodes import Config
from gan_cli.data import TrainingSet
from gan_cli.datasets.dataset import Dataset
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.metrics.metrics import Scorer
from gan_cli.objectives.objective import Objective
from gan_cli.runs.checkpoint import Checkpoint
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.follower import Silent
from gan_cli.runs.run import fetch
from gan_cli.runs.signals import Stop
from gan_cli.runs.sink import Record
from gan_cli.runs.state import flat, state_of
from gan_cli.runs.trained import within
from gan_cli.trainer import train

MOST_THREADS = 256  # that a record may ask for


def kind_of(record: Record) -> str:
    return "metrics" if "metrics" in record else "losses"


@dataclass
class Replay(Silent):
    """The run from `step` on; `made` has the records of the last step.

    What was recorded besides what is due, as at an earlier end of a run that went on, is computed, too. With `moved`,
    every weight is changed after each step by this relative amount, at random.
    """

    recorded: frozenset[tuple[int, str]] = frozenset()
    sessions: Sequence[Mapping[str, Any]] = ()
    moved: float = 0.0
    made: list[Record] = field(default_factory=list)

    def steps(self, end: int) -> Iterator[list[Record]]:
        """Trains until `end`; yields what each step records. Raises LostError where the run does."""
        self.use_threads()
        for step in train(self.experiment, self.step):
            due = self.due(step.number)
            numbers = fetch(step, self.experiment) if any(due.values()) else None
            self.step, self.made = step.number, []
            if numbers is not None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the run has said what it found
                    self.report(numbers, due, 1.0)
            self.move()
            yield self.made
            if self.step >= end:
                return
            self.use_threads()

    def due(self, step: int) -> dict[str, bool]:
        due = super().due(step)
        if any(session["steps"] == step for session in self.sessions) and (step, "losses") in self.recorded:
            return dict.fromkeys(due, True)
        due["log"] |= (step, "losses") in self.recorded
        due["evaluate"] |= (step, "metrics") in self.recorded
        return due

    def record(self, record: Record) -> None:
        self.made.append(record)

    def use_threads(self) -> None:
        """As many as the run had for the next step: the last bits depend on their number."""
        threads = threads_at(self.sessions, self.step + 1)
        if threads is not None and threads != self.experiment.game.engine.num_threads():
            self.experiment.game.engine.use_threads(threads)

    @torch.no_grad()
    def move(self) -> None:
        """The step's own random state ends with it, so that these draws change nothing else."""
        if self.moved:
            for player in self.experiment.players:
                for parameter in player.parameters:
                    parameter.mul_(1 + self.moved * torch.randn_like(parameter))

    def scores(self) -> Record:
        """The record of an evaluation at this step."""
        self.use_threads()
        self.made = []
        self.draw_and_score(self.due(self.step)["sample"], score=True)
        return self.made[-1]

    def state(self) -> dict[str, Any]:
        """Every tensor and number of a checkpoint at this step, by name; tensors on the CPU."""
        values = {
            name: value for part, held in self.experiment.parts().items() for name, value in flat(part, state_of(held))
        }
        return {name: value.detach().cpu() if isinstance(value, Tensor) else value for name, value in values.items()}


def threads_at(sessions: Sequence[Mapping[str, Any]], step: int) -> int | None:
    """The threads of the process that trained this step; None if that is not known, or more than is sensible."""
    trained = [session["hardware"]["threads"] for session in sessions if session["step"] < step]
    return trained[-1] if trained and 1 <= trained[-1] <= MOST_THREADS else None


@contextmanager
def own_threads(engine: Engine) -> Iterator[None]:
    """Afterwards, as many threads compute as before."""
    before = engine.num_threads()
    try:
        yield
    finally:
        engine.use_threads(before)


@dataclass(frozen=True)
class Rebuilt:
    """What all replays of a run share; `initial` has the weights that it began with, if they are another run's."""

    folder: RunFolder
    newest: Checkpoint
    config: Config  # checked
    engine: Engine
    dataset: Dataset
    training_set: TrainingSet
    objective: Objective
    scorer: Scorer | None
    unavailable: str
    initial: Checkpoint | None
    records: Sequence[Record]
    sessions: Sequence[Mapping[str, Any]]

    def at(self, start: Checkpoint | None, moved: float = 0.0) -> Replay:
        """The run at a checkpoint, or at its beginning."""
        experiment = build(self.newest, self.config, self.engine, self.dataset, self.training_set)
        if start is not None:
            start.restore(experiment.parts())
        elif self.initial is not None:
            self.initial.restore(experiment.gan.networks())
        step = 0 if start is None else start.step
        replay = Replay(
            experiment=experiment,
            scorer=self.scorer,
            unavailable=self.unavailable,
            folder=self.folder,
            sinks=[],
            stop=Stop(),
            config=self.newest.config,
            overrides=self.newest.overrides,
            signature="",
            step=step,
            saved_step=step,
            recorded=frozenset((record["step"], kind_of(record)) for record in self.records),
            sessions=self.sessions,
            moved=moved,
        )
        for record in self.records:
            if record["step"] <= step:
                replay.health.see(record)
        replay.move()
        return replay


def build(found: Checkpoint, config: Config, engine: Engine, dataset: Dataset, training_set: TrainingSet) -> Experiment:
    with warnings.catch_warnings(), within(found):
        warnings.simplefilter("ignore")
        return assemble(config, engine, dataset, training_set)


def rebuilt(
    folder: RunFolder,
    newest: Checkpoint,
    config: Config,
    engine: Engine,
    initial: Checkpoint | None,
    records: Sequence[Record],
    sessions: Sequence[Mapping[str, Any]],
    unavailable: str | None,
) -> Rebuilt:
    """Loads the data; `unavailable` is why the run has no scores, if it has none.

    Raises UserError for data or weights of an extractor that are not here.
    """
    engine = engine.with_settings(engine_settings(config))
    dataset = build_dataset(config)
    training_set = load_training_set(dataset)
    experiment = build(newest, config, engine, dataset, training_set)
    scorer, missing = None, unavailable or ""
    if unavailable is None:
        count, conditional = experiment.num_eval_images, experiment.game.conditional
        scorer, missing = build_scorer(dataset, experiment.training_set, count, conditional=conditional)
        if scorer is None:
            raise UserError(f"its scores cannot be measured here: {missing}")
        check_scorer(scorer, experiment.gan)
    return Rebuilt(
        folder=folder,
        newest=newest,
        config=config,
        engine=engine,
        dataset=dataset,
        training_set=training_set,
        objective=experiment.game.objective,
        scorer=scorer,
        unavailable=missing,
        initial=initial,
        records=records,
        sessions=sessions,
    )
