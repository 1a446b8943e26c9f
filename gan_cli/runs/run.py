"""A run from its first step to its summary: steps are recorded, scored, drawn and saved."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_cli.ema import tensors
from gan_cli.errors import DivergedError
from gan_cli.evaluation import Generated, generate, scoring
from gan_cli.experiment import Experiment
from gan_cli.metrics.metrics import Scorer
from gan_cli.runs import checkpoint, pictures
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.signals import Stop, WorkDroppedError
from gan_cli.runs.sink import Reading, Record, Sink
from gan_cli.runs.summary import best_record, protocol, trajectory, versions
from gan_cli.trainer import Step, train
from gan_cli.work import listening

DUE = ("log", "sample", "evaluate", "checkpoint")


@dataclass
class Run:
    """An experiment in its folder. `seconds` counts only training: no evaluation, pictures or checkpoints.

    `concluded` says whether everything that was due at `step` is done; a run that was stopped during scoring begins
    with the scores.
    """

    experiment: Experiment
    scorer: Scorer | None
    unavailable: str  # why there is no scorer
    folder: RunFolder
    sinks: Sequence[Sink]
    stop: Stop
    config: dict[str, Any]
    overrides: list[str]
    step: int = 0
    seconds: float = 0.0
    concluded: bool = True
    floor: dict[str, float] = field(default_factory=dict)

    def train(self) -> str:
        """Trains from `step` to the end, or until stopped; writes and returns the status.

        Raises DivergedError, and any error of the training, after it is in the summary.
        """
        status, error = "failed", ""
        try:
            with listening(self.report_work):
                self.begin()
                self.loop()
            status = "completed" if self.step == self.experiment.settings.steps and self.concluded else "interrupted"
        except DivergedError as diverged:
            status, error = "diverged", str(diverged)
            raise
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            self.stop.closing = True
            self.finish(status, error)
        return status

    def report_work(self, what: str) -> None:
        for sink in self.sinks:
            sink.working(what)

    def record(self, record: Record) -> None:
        for sink in self.sinks:
            sink.recorded(record)

    def begin(self) -> None:
        """Saves the initial state, so that the run can be resumed; draws and scores real images; does what is due."""
        if self.step == 0:
            self.save()
        pictures.save_real(self.folder.samples / "real.png", self.experiment.training_set.values)
        if self.scorer is not None:
            with self.stop.dropping():
                self.floor = self.scorer.floor()
        if not self.concluded:
            self.conclude(self.due(self.step))

    def due(self, step: int) -> dict[str, bool]:
        """What is to be done after the step."""
        settings = self.experiment.settings
        every = dict(zip(DUE, ("log_every", "sample_every", "evaluate_every", "checkpoint_every"), strict=True))
        intervals = {name: getattr(settings, key) for name, key in every.items()}
        last = step == settings.steps
        return {name: last or (interval > 0 and step % interval == 0) for name, interval in intervals.items()}

    def loop(self) -> None:
        started, first_step, first_seconds = time.perf_counter(), self.step, self.seconds
        for step in train(self.experiment, self.step):
            stopping = self.stop.signal is not None  # read once: a later signal is for the next step
            due = self.due(step.number)
            due["checkpoint"] |= stopping
            numbers = fetch(step, self.experiment) if any(due.values()) else None  # waits for the device
            self.step, self.seconds = step.number, self.seconds + time.perf_counter() - started
            if numbers is not None:
                images = (self.step - first_step) * self.experiment.settings.images_per_step
                self.report(numbers, due, images / (self.seconds - first_seconds))
            if stopping:
                break
            started = time.perf_counter()

    def report(self, numbers: Record, due: dict[str, bool], speed: float) -> None:
        """Records and does everything that is due after this step."""
        check_finite(numbers, self.step)
        if due["log"]:
            seen = self.step * self.experiment.settings.images_per_step
            self.record({"step": self.step, "images_seen": seen, "seconds": round(self.seconds, 3)} | numbers)
        totals = {player: sum(terms.values()) for player, terms in numbers["losses"].items()}
        for sink in self.sinks:
            sink.advanced(Reading(self.step, speed, totals, numbers["scores"]))
        self.conclude(due)

    def conclude(self, due: dict[str, bool]) -> None:
        """Pictures and scores of this step; the checkpoint is last, so that it comes after all it confirms.

        If a signal drops them, the run is saved as not concluded.
        """
        if due["evaluate"] or due["sample"] or due["checkpoint"]:
            check_weights(self.experiment, self.step)
        try:
            best = self.draw_and_score(due["sample"], due["evaluate"])
        except WorkDroppedError:
            self.concluded = False
            self.save()
            raise
        if due["checkpoint"] or best or not self.concluded:
            self.concluded = True
            self.save(best)

    def draw_and_score(self, draw: bool, score: bool) -> bool:
        """Saves a picture and records metrics; returns whether this step is the best so far."""
        num_drawn = pictures.num_drawn(self.experiment.training_set.image_shape) if draw else 0
        num_scored = self.experiment.num_eval_images if score and self.scorer is not None else 0
        if not num_drawn and not num_scored:
            return False
        with self.stop.dropping():
            fake = self.generate(max(num_drawn, num_scored))  # once for both: image n does not depend on the count
            scored = self.scorer.score(fake.values[:num_scored]) if self.scorer is not None and num_scored else None
        if num_drawn:  # the same latents at every step: the first of those that are scored
            path = self.folder.samples / f"{self.step:08d}.png"
            real = self.experiment.training_set.values
            pictures.save_fake(path, fake.values[:num_drawn], real, scoring(self.experiment.gan))
        if scored is None or self.scorer is None:
            return False
        metrics = {key: value for key, value in scored.items() if math.isfinite(value)}
        self.record({"step": self.step, "metrics": metrics, "sampling": fake.cost.as_dict()})
        best = best_record(self.folder.records(), self.scorer.leading, self.scorer.lower_is_better)
        return best is not None and best["step"] == self.step

    def generate(self, count: int) -> Generated:
        gan, seed = self.experiment.gan, self.experiment.settings.evaluation_seed
        real = gan.calibration(self.experiment.training_set)
        return generate(gan, count, seed, real, self.experiment.dataset.stored)

    def save(self, best: bool = False) -> None:
        folder = checkpoint.save(
            self.folder.checkpoints,
            self.experiment.parts(),
            step=self.step,
            seconds=self.seconds,
            config=self.config,
            image_shape=self.experiment.training_set.image_shape,
            overrides=self.overrides,
            concluded=self.concluded,
        )
        if best:
            checkpoint.point(self.folder.checkpoints, "best", folder)
        checkpoint.prune(self.folder.checkpoints, self.experiment.settings.keep_checkpoints)

    def finish(self, status: str, error: str) -> None:
        """Writes the curves and summary.json, for every status."""
        experiment, settings, records = self.experiment, self.experiment.settings, self.folder.records()
        images_seen = self.step * settings.images_per_step
        pictures.save_curves(self.folder.path / "curves.png", records, self.floor, settings.images_per_step)
        cost: dict[str, Any] = {
            "seconds": self.seconds,
            "images_seen": images_seen,
            "images_per_second": images_seen / max(self.seconds, 1e-9),
            **{f"{player.name}_updates": self.step * player.num_turns for player in experiment.players},
            "peak_memory_bytes": experiment.game.engine.peak_memory(),
            "device": str(experiment.game.engine.device),
            "sampling": next((r["sampling"] for r in reversed(records) if "sampling" in r), {}),
        }
        summary = {
            "status": status,
            "step": self.step,
            "error": error,
            "config": self.config,
            "metrics": self.metrics(records),
            "objective": experiment.game.objective.facts(),
            "protocol": protocol(experiment.dataset, self.scorer, experiment.num_eval_images, settings.evaluation_seed),
            "cost": cost,
            "versions": versions(),
            "overrides": self.overrides,
        }
        for sink in self.sinks:
            sink.finished(summary)

    def metrics(self, records: list[Record]) -> dict[str, Any]:
        if self.scorer is None:
            return {"last": {}, "best": {}, "floor": {}, "trajectory": {}, "unavailable": self.unavailable}
        evaluated = [record for record in records if "metrics" in record]
        best = best_record(records, self.scorer.leading, self.scorer.lower_is_better)
        return {
            "last": evaluated[-1]["metrics"] if evaluated else {},
            "best": best["metrics"] if best else {},
            "best_step": best["step"] if best else None,
            "leading": self.scorer.leading,
            "headlines": list(self.scorer.headlines),
            "directions": dict(self.scorer.directions),
            "floor": self.floor,
            "trajectory": trajectory(records),
        }


def fetch(step: Step, experiment: Experiment) -> Record:
    """The step's numbers, read from the device."""
    losses = {player: {name: loss.item() for name, loss in terms.items()} for player, terms in step.losses.items()}
    numbers = {"losses": losses, "scores": {side: score.item() for side, score in step.scores.items()}}
    equilibrium = experiment.game.objective.equilibrium_loss()
    if equilibrium is not None:
        numbers["above_equilibrium"] = losses["discriminator"]["adversarial"] - equilibrium
    return numbers


def check_finite(numbers: Record, step: int) -> None:
    for player, terms in numbers["losses"].items():
        for name, loss in terms.items():
            if not math.isfinite(loss):
                raise DivergedError(f"diverged: the {player}'s {name} loss is {loss} at step {step}")


def check_weights(experiment: Experiment, step: int) -> None:
    networks = {player.name: player.network for player in experiment.players}
    networks["moving average"] = experiment.gan.ema_generator
    for name, network in networks.items():
        if not all(tensor.isfinite().all() for tensor in tensors(network)):
            raise DivergedError(f"diverged: the {name} has weights that are not finite at step {step}")
