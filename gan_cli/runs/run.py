"""A run from its first step to its summary: the loop's steps logged, scored, drawn and saved."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from gan_cli.ema import tensors
from gan_cli.engine import peak_memory
from gan_cli.errors import DivergedError
from gan_cli.evaluation import Generated, SamplingCost, generate, scoring
from gan_cli.experiment import Experiment
from gan_cli.metrics.metrics import Scorer
from gan_cli.runs import checkpoint, pictures
from gan_cli.runs.folder import Record, RunFolder
from gan_cli.runs.progress import Progress
from gan_cli.runs.summary import best_record, trajectory, versions
from gan_cli.shapes import Stored
from gan_cli.trainer import Step, train


@dataclass
class Stop:
    """Set by the first Ctrl-C or SIGTERM; the step in progress is finished and saved. A second one is immediate.

    Once the run is `closing`, which takes a moment, there is nothing left to interrupt.
    """

    signal: int | None = None
    closing: bool = False


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        again, stop.signal = stop.signal is not None, number
        if again and not stop.closing:
            stop.closing = True
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@dataclass
class Run:
    """An experiment in its folder. `seconds` counts training alone: no evaluation, pictures or checkpoints."""

    experiment: Experiment
    scorer: Scorer | None
    unavailable: str  # why there is no scorer
    folder: RunFolder
    config: dict[str, Any]
    overrides: list[str]
    step: int = 0
    seconds: float = 0.0
    floor: dict[str, float] = field(default_factory=dict)

    def train(self, stop: Stop) -> str:
        """Trains from `step` to the end, or until stopped; writes and returns the status.

        Raises DivergedError, and whatever the training raises, after the summary says so.
        """
        status, error = "failed", ""
        try:
            self.begin()
            self.loop(stop)
            status = "completed" if self.step == self.experiment.settings.steps else "interrupted"
        except DivergedError as diverged:
            status, error = "diverged", str(diverged)
            raise
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            stop.closing = True
            self.finish(status, error)
        return status

    def begin(self) -> None:
        """The floor and the picture of real images; a fresh run also saves its initial state, so it can be resumed."""
        if self.scorer is not None:
            self.floor = self.scorer.floor()
        if self.step == 0:
            self.save()
        dataset, table = self.experiment.dataset, self.experiment.table
        rows = torch.linspace(0, len(table) - 1, min(dataset.num_drawn, len(table))).long()
        dataset.draw_real(self.folder.samples / "real.png", table.values[rows].cpu())

    def loop(self, stop: Stop) -> None:
        settings = self.experiment.settings
        with Progress(settings.steps, self.step) as progress:
            steps = train(self.experiment, self.step)
            started, first_step, first_seconds = time.perf_counter(), self.step, self.seconds
            for step in steps:
                last = step.number == settings.steps
                stopping = stop.signal is not None  # asked once: a signal from here on is for the next step
                due = {
                    name: last or (every > 0 and step.number % every == 0)
                    for name, every in (
                        ("log", settings.log_every),
                        ("sample", settings.sample_every),
                        ("evaluate", settings.evaluate_every),
                        ("checkpoint", settings.checkpoint_every),
                    )
                }
                due["checkpoint"] |= stopping
                reading = fetch(step, self.experiment) if any(due.values()) else None  # waits for the device
                self.step, self.seconds = step.number, self.seconds + time.perf_counter() - started
                if reading is not None:
                    speed = (self.step - first_step) * settings.images_per_step / (self.seconds - first_seconds)
                    self.report(reading, due, speed, progress)
                if stopping:
                    break
                started = time.perf_counter()

    def report(self, reading: Record, due: dict[str, bool], speed: float, progress: Progress) -> None:
        """Everything that is due after this step, the checkpoint last: it vouches for all before it."""
        check_finite(reading, self.step)
        if due["log"]:
            seen = self.step * self.experiment.settings.images_per_step
            self.folder.log({"step": self.step, "images_seen": seen, "seconds": round(self.seconds, 3)} | reading)
        totals = {player: sum(terms.values()) for player, terms in reading["losses"].items()}
        progress.update(self.step, speed, totals, reading["scores"])
        if due["evaluate"] or due["sample"] or due["checkpoint"]:
            check_weights(self.experiment, self.step)
        best = False
        drawn = self.experiment.dataset.num_drawn if due["sample"] else 0
        scored = self.experiment.num_eval_images if due["evaluate"] and self.scorer is not None else 0
        if drawn or scored:
            fake = self.generate(max(drawn, scored))  # once for both: image n is the same however many are made
            if drawn:
                self.draw(fake.values[:drawn])
            if self.scorer is not None and scored:
                best = self.evaluate(self.scorer, fake.values[:scored], fake.cost, progress)
        if due["checkpoint"] or best:
            self.save(best)

    def evaluate(self, scorer: Scorer, fake: Stored, cost: SamplingCost, progress: Progress) -> bool:
        """Scores this step; says whether it is the best so far."""
        metrics = {key: value for key, value in scorer.score(fake).items() if math.isfinite(value)}
        self.folder.log({"step": self.step, "metrics": metrics, "sampling": cost.as_dict()})
        shown = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items() if not key.endswith("_std"))
        progress.note(f"step {self.step}/{self.experiment.settings.steps}  {shown}")
        best = best_record(self.folder.records(), scorer.leading, scorer.lower_is_better)
        return best is not None and best["step"] == self.step

    def generate(self, count: int) -> Generated:
        players, table, dataset = self.experiment.players, self.experiment.table, self.experiment.dataset
        seed = self.experiment.settings.evaluation_seed
        return generate(players, count, seed, players.calibration(table), dataset.stored)

    def draw(self, fake: Stored) -> None:
        """The same latents at every step: the first that are scored."""
        path = self.folder.samples / f"{self.step:08d}.png"
        self.experiment.dataset.draw(path, fake, scoring(self.experiment.players))

    def save(self, best: bool = False) -> None:
        folder = checkpoint.save(
            self.folder.checkpoints,
            self.experiment.parts(),
            step=self.step,
            seconds=self.seconds,
            config=self.config,
            image_shape=self.experiment.table.image_shape,
            overrides=self.overrides,
        )
        if best:
            checkpoint.point(self.folder.checkpoints, "best", folder)
        checkpoint.prune(self.folder.checkpoints, self.experiment.settings.keep_checkpoints)

    def finish(self, status: str, error: str) -> None:
        """Curves and summary.json, whatever happened."""
        settings, records = self.experiment.settings, self.folder.records()
        pictures.save_curves(self.folder.path / "curves.png", records, self.floor, settings.images_per_step)
        self.folder.write_summary(
            {
                "status": status,
                "step": self.step,
                "error": error,
                "config": self.config,
                "metrics": self.metrics(records),
                "objective": self.experiment.players.game.objective.facts(),
                "protocol": self.protocol(),
                "cost": {
                    "seconds": self.seconds,
                    "images_seen": self.step * settings.images_per_step,
                    "images_per_second": self.step * settings.images_per_step / max(self.seconds, 1e-9),
                    "discriminator_updates": self.step * settings.discriminator_steps,
                    "generator_updates": self.step * settings.generator_steps,
                    "peak_memory_bytes": peak_memory(self.experiment.players.device),
                    "device": str(self.experiment.players.device),
                    "sampling": next((r["sampling"] for r in reversed(records) if "sampling" in r), {}),
                },
                "versions": versions(),
                "overrides": self.overrides,
            }
        )

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

    def protocol(self) -> dict[str, str | int | float]:
        return protocol(
            self.experiment, self.scorer, self.experiment.num_eval_images, self.experiment.settings.evaluation_seed
        )


def protocol(experiment: Experiment, scorer: Scorer | None, num_fake: int, seed: int) -> dict[str, str | int | float]:
    """How a score was measured; scores compare only where all of it is the same."""
    measured = scorer.protocol if scorer is not None else {}
    return (
        experiment.dataset.protocol
        | measured
        | {"num_fake": num_fake, "weights": "moving average", "evaluation_seed": seed}
    )


def fetch(step: Step, experiment: Experiment) -> Record:
    """The step's numbers, read from the device."""
    losses = {player: {name: loss.item() for name, loss in terms.items()} for player, terms in step.losses.items()}
    reading = {"losses": losses, "scores": {side: score.item() for side, score in step.scores.items()}}
    equilibrium = experiment.players.game.objective.equilibrium_loss()
    if equilibrium is not None:
        reading["above_equilibrium"] = losses["discriminator"]["adversarial"] - equilibrium
    return reading


def check_finite(reading: Record, step: int) -> None:
    for player, terms in reading["losses"].items():
        for name, loss in terms.items():
            if not math.isfinite(loss):
                raise DivergedError(f"diverged: the {player}'s {name} loss is {loss} at step {step}")


def check_weights(experiment: Experiment, step: int) -> None:
    players = experiment.players
    networks = {
        "generator": players.game.generator,
        "discriminator": players.game.discriminator,
        "moving average": players.ema_generator,
    }
    for name, network in networks.items():
        if not all(tensor.isfinite().all() for tensor in tensors(network)):
            raise DivergedError(f"diverged: the {name} has weights that are not finite at step {step}")
