"""A run from its first step to its summary: steps are recorded, scored, drawn and saved."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from gan_cli.config.pretrained import trained_weights
from gan_cli.ema import tensors
from gan_cli.errors import DivergedError, EndError, LostError, RankError, one_line
from gan_cli.evaluation import Generated, Scored, class_grid, classifying, generate, score_seeds, scoring, snapshot
from gan_cli.experiment import Experiment, Player
from gan_cli.iteration import Step
from gan_cli.metrics.metrics import Scorer, Subject
from gan_cli.ranks import Ranks, shared_out
from gan_cli.runs import averages, checkpoint, pictures
from gan_cli.runs.checkpoint import name_of
from gan_cli.runs.failures import explained
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.health import Health
from gan_cli.runs.sessions import times_and_machine
from gan_cli.runs.signals import Stop, WorkDroppedError
from gan_cli.runs.sink import Reading, Record, Sink
from gan_cli.runs.summary import best_record, protocol, trajectory, versions
from gan_cli.shapes import Labels, Stored
from gan_cli.trainer import train
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
    sinks: list[Sink]
    stop: Stop
    config: dict[str, Any]
    overrides: list[str]
    signature: str  # of the config, by the user who started the run
    step: int = 0
    saved_step: int = 0  # of the newest checkpoint
    seconds: float = 0.0
    concluded: bool = True
    pause_at: int | None = None  # the step after which the run is saved and ends, to be continued
    floor: dict[str, float] = field(default_factory=dict)
    best: Record | None = None  # the evaluation with the best leading metric
    health: Health = field(init=False)

    def __post_init__(self) -> None:
        self.health = Health(self.experiment.game.objective)

    def train(self) -> str:
        """Trains from `step` to the end, or until stopped; writes and returns the status.

        Raises LostError, and any error of the training, after it is in the summary.
        """
        status, error = "failed", ""
        try:
            with listening(self.report_work):
                self.begin()
                self.loop()
            finished = self.step == self.experiment.settings.steps and self.concluded
            if self.health.lost is not None and (finished or self.stops_if_lost):
                raise self.health.lost.error()
            status = "completed" if finished else "interrupted"
        except LostError as lost:
            status, error = lost.status, str(lost)
            raise type(lost)(f"{lost}; see {self.folder.diagnosis}") from lost
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception as failure:
            end = self.explained(failure)
            error = str(end) if isinstance(end, EndError) else f"{type(end).__name__}: {one_line(end)}"
            if end is failure:
                raise
            raise end from failure
        finally:
            self.stop.closing = True
            self.finish(status, error)
        return status

    def explained(self, failure: Exception) -> Exception:
        return explained(failure, self.step + 1, self.experiment, self.folder)

    def tell(self, moment: str, *what: Any) -> None:
        """Calls every sink; one that only tells is left out after an error, and does not end the run."""
        for sink in list(self.sinks):
            try:
                getattr(sink, moment)(*what)
            except Exception as error:
                if sink.vital:
                    raise
                self.sinks.remove(sink)
                name = sink.name or type(sink).__name__
                warnings.warn(f"{name} is left out from now on: {one_line(error)}", stacklevel=2)

    def report_work(self, what: str) -> None:
        self.tell("working", what)

    def record(self, record: Record) -> None:
        self.tell("recorded", record)

    def begin(self) -> None:
        """Saves the initial state, so that the run can be resumed; draws and scores real images; does what is due."""
        records = self.ranks.told_by_first(self.folder.records() if self.ranks.leads else [])
        for record in records:
            self.health.see(record)
        if self.scorer is not None:
            self.best = best_record(records, self.scorer.leading, self.scorer.lower_is_better)
        self.open(records)
        if self.scorer is not None:
            with self.stop.dropping():
                self.floor = self.scorer.floor()
        if not self.concluded:
            self.conclude(self.due(self.step))

    def open(self, records: list[Record]) -> None:
        """Begins to write, after these records."""
        if self.step == 0:
            self.save()
        else:
            checkpoint.point(self.folder.checkpoints, "latest", self.folder.checkpoints / name_of(self.step))
            self.tidy_checkpoints()
        self.tell("began", records)
        with self.drawing():
            pictures.save_real(self.folder.samples / "real.png", self.experiment.training_set.values)

    @property
    def ranks(self) -> Ranks:
        return self.experiment.game.engine.ranks

    def due(self, step: int) -> dict[str, bool]:
        """What is to be done after the step."""
        settings = self.experiment.settings
        every = dict(zip(DUE, ("log_every", "sample_every", "evaluate_every", "checkpoint_every"), strict=True))
        intervals = {name: getattr(settings, key) for name, key in every.items()}
        last, snapshots = step == settings.steps, settings.ema_snapshots_every
        due = {name: last or (interval > 0 and step % interval == 0) for name, interval in intervals.items()}
        return due | {"snapshot": snapshots > 0 and step % snapshots == 0}

    @property
    def stops_if_lost(self) -> bool:
        return self.experiment.settings.on_divergence == "stop"

    @property
    def paused(self) -> bool:
        """Whether it has come to the step at which it is to pause, and no signal has stopped it."""
        return self.pause_at is not None and self.step >= self.pause_at and self.concluded and self.stop.signal is None

    def loop(self) -> None:
        if self.health.lost is not None and self.stops_if_lost:  # it was, before the run was continued
            return
        if self.paused:
            return
        started, first_step, first_seconds = time.perf_counter(), self.step, self.seconds
        for step in train(self.experiment, self.step):
            # read once: a later signal is for the next step
            signal = self.ranks.largest(self.stop.signal or 0)
            self.stop.signal = self.stop.signal or signal or None
            stopping = signal != 0 or step.number == self.pause_at
            due = self.due(step.number)
            due["checkpoint"] |= stopping
            numbers = None
            if any(due.values()):  # waits for the device
                numbers = self.ranks.told_by_first(fetch(step, self.experiment))
            self.step, self.seconds = step.number, self.seconds + time.perf_counter() - started
            if numbers is not None:
                images = (self.step - first_step) * self.experiment.images_per_step
                self.report(numbers, due, images / (self.seconds - first_seconds))
            if stopping or (self.health.lost is not None and self.stops_if_lost):
                break
            started = time.perf_counter()

    def report(self, numbers: Record, due: dict[str, bool], speed: float) -> None:
        """Records and does everything that is due after this step."""
        check_finite(numbers, self.step)
        if due["log"]:
            seen = self.step * self.experiment.images_per_step
            record = {"step": self.step, "images_seen": seen, "seconds": round(self.seconds, 3)} | numbers
            self.record(record)
            for finding in self.health.see(record):
                warnings.warn(f"at step {self.step}: {finding}", stacklevel=1)
                due["checkpoint"] |= self.stops_if_lost
        totals = {player: sum(terms.values()) for player, terms in numbers["losses"].items()}
        self.tell("advanced", Reading(self.step, speed, totals, numbers["scores"]))
        self.conclude(due)

    def conclude(self, due: dict[str, bool]) -> None:
        """Pictures and scores of this step; the checkpoint is last, so that it comes after all it confirms.

        If a signal drops them, the run is saved as not concluded.
        """
        if due["evaluate"] or due["sample"] or due["checkpoint"]:
            check_weights(self.experiment, self.step)
        if due["snapshot"]:
            self.save_averages()
        try:
            best = self.draw_and_score(due["sample"], due["evaluate"])
        except (WorkDroppedError, RankError):  # the training state is complete
            self.concluded = False
            self.save()
            raise
        if due["checkpoint"] or best or not self.concluded:
            self.concluded = True
            self.save()

    def draw_and_score(self, draw: bool, score: bool) -> bool:
        """Saves a picture and records metrics; returns whether this step is the best so far."""
        experiment, gan = self.experiment, self.experiment.gan
        scorer = self.scorer if score else None
        generates = gan.game.objective.generates
        num_drawn = pictures.num_drawn(experiment.training_set.image_shape) if draw and generates else 0
        num_scored = experiment.num_eval_images if scorer is not None and scorer.reads_images else 0
        if not num_drawn and scorer is None and (not draw or self.scorer is None):
            return False
        started = time.perf_counter()
        with self.stop.dropping(), shared_out(self.ranks):
            if scorer is None:
                made, scored, nearest = self.generate(num_drawn), None, None
                subject = Subject(made.values[:0], made.labels[:0], classifying(gan))
            else:  # one generation for both: image n does not depend on the count
                scored = self.score(scorer, num_scored, num_drawn)
                made, subject = scored.made, scored.subject
                nearest = scorer.nearest(subject)
            confusion = self.scorer.confusion(subject) if draw and self.scorer is not None else None
        scoring_seconds = time.perf_counter() - started
        if num_drawn:  # the same latents at every step
            self.draw(made.values[:num_drawn], made.labels[:num_drawn])
        if nearest is not None:
            with self.drawing():
                pictures.save_nearest(self.folder.nearest, nearest)
        if confusion is not None:
            self.draw_confusion(confusion)
        if scored is None or self.scorer is None:
            return False
        lost = {"lost": self.health.lost.symptom.status} if self.health.lost is not None else {}
        sampling = {"sampling": made.cost.as_dict()} if num_scored else {}
        cost = sampling | {"scoring_seconds": round(scoring_seconds, 3)}
        repeats = {"repeats": scored.repeats} if scored.repeats else {}
        record = {"step": self.step, "metrics": scored.metrics} | repeats | cost | lost
        self.record(record)
        known = [record] if self.best is None else [self.best, record]
        self.best = best_record(known, self.scorer.leading, self.scorer.lower_is_better)
        return self.best is record

    def draw(self, fake: Stored, labels: Labels) -> None:
        """A picture of these images; where they have classes, of a row for each class instead."""
        gan, settings, stored = self.experiment.gan, self.experiment.settings, self.experiment.dataset.stored
        real, classes = self.experiment.training_set, gan.class_law.spread(pictures.MOST_ROWS)
        path, columns = self.folder.samples / f"{self.step:08d}.png", pictures.NUM_COLUMNS if classes else None
        with self.drawing():
            if classes and not pictures.are_points(fake.shape[1:]):
                fake = class_grid(gan, classes, pictures.NUM_COLUMNS, settings.evaluation_seed, stored)
            both = (real.labels, labels) if classes else None
            pictures.save_fake(path, fake, real.values, scoring(gan), columns, both)
            self.tell("drawn", self.step, path)

    def draw_confusion(self, counts: Tensor) -> None:
        """The picture of this step, if no images are generated; else a file of its own, of the newest one."""
        generates = self.experiment.game.objective.generates
        path = self.folder.confusion if generates else self.folder.samples / f"{self.step:08d}.png"
        with self.drawing():
            pictures.save_confusion(path, counts)
            if not generates:
                self.tell("drawn", self.step, path)

    def generate(self, count: int) -> Generated:
        gan, seed = self.experiment.gan, self.experiment.settings.evaluation_seed
        real = gan.calibration(self.experiment.training_set)
        return generate(gan, count, seed, real, self.experiment.dataset.stored)

    def score(self, scorer: Scorer, count: int, num_drawn: int) -> Scored:
        gan, settings = self.experiment.gan, self.experiment.settings
        real = gan.calibration(self.experiment.training_set)
        stored = self.experiment.dataset.stored
        scored = score_seeds(gan, scorer, settings.evaluation_seeds, count, real, stored, num_drawn)
        metrics, repeats = self.ranks.told_by_first((scored.metrics, scored.repeats))
        return replace(scored, metrics=metrics, repeats=repeats)

    def save(self) -> None:
        checkpoint.save(
            self.folder.checkpoints,
            self.experiment.parts(),
            step=self.step,
            seconds=self.seconds,
            config=self.config,
            image_shape=self.experiment.training_set.image_shape,
            class_counts=self.experiment.training_set.class_counts,
            overrides=self.overrides,
            concluded=self.concluded,
            signature=self.signature,
            records=self.folder.vouched(),
        )
        self.saved_step = self.step
        self.tidy_checkpoints()

    def save_averages(self) -> None:
        averages.save(self.folder.averages, self.experiment.power_networks, self.step)

    def tidy_checkpoints(self) -> None:
        """Lets `best` follow from the records, and removes what is not kept: a kill may have come before either."""
        checkpoints = self.folder.checkpoints
        if self.best is not None and checkpoints / name_of(self.best["step"]) in checkpoint.complete(checkpoints):
            checkpoint.point(checkpoints, "best", checkpoints / name_of(self.best["step"]))
        checkpoint.prune(checkpoints, self.experiment.settings.keep_checkpoints)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """A picture that cannot be drawn or written does not end the run."""
        try:
            yield
        except Exception as error:
            warnings.warn(f"a picture cannot be drawn: {one_line(error)}", stacklevel=3)

    def finish(self, status: str, error: str) -> None:
        """Writes summary.json, and then the curves, for every status; an error here does not hide an earlier one."""
        try:
            records = self.folder.records()
            with listening(self.report_work):
                self.tell("finished", self.summary(status, error, records))
            images = self.experiment.images_per_step
            with self.drawing():
                pictures.save_curves(self.folder.curves, records, self.floor, images)
                if status in ("collapsed", "diverged"):
                    self.diagnose(records, error)
        except (OSError, EndError) as later:
            if not error:
                raise self.explained(later) from later
            warnings.warn(f"summary.json cannot be written: {one_line(later)}", stacklevel=2)

    def summary(self, status: str, error: str, records: list[Record]) -> Record:
        experiment, settings = self.experiment, self.experiment.settings
        images_seen = self.step * experiment.images_per_step
        cost: dict[str, Any] = {
            "seconds": self.seconds,
            "images_seen": images_seen,
            "images_per_second": images_seen / max(self.seconds, 1e-9),
            **{f"{player.name}_updates": self.step * player.num_turns for player in experiment.players},
            "peak_memory_bytes": experiment.game.engine.peak_memory(),
            "device": str(experiment.game.engine.device),
            "scoring_seconds": sum(record.get("scoring_seconds", 0.0) for record in records),
            "sampling": next((r["sampling"] for r in reversed(records) if "sampling" in r), {}),
        }
        data, scorer = experiment.training_set, self.scorer
        count = experiment.num_eval_images if scorer is None or scorer.reads_images else None
        return {
            "status": status,
            "step": self.step,
            "error": error,
            "warnings": self.health.warnings(),
            "config": self.config,
            "metrics": self.metrics(records),
            "objective": experiment.game.objective.facts(),
            "protocol": protocol(
                experiment.dataset, data, scorer, count, settings.evaluation_seeds, experiment.game.engine.precision
            )
            | trained_weights(self.config)
            | ({} if experiment.batch_statistics is None else {"batch_statistics": experiment.batch_statistics}),
            "cost": cost,
            "parameters": {p.name: sum(map(Tensor.numel, p.network.parameters())) for p in experiment.players},
            **times_and_machine(self.folder.sessions.all()),
            "versions": versions(),
            "overrides": self.overrides,
        }

    def diagnose(self, records: list[Record], error: str) -> None:
        """The picture of a training that is lost, with what the generator itself makes now; its average lags behind."""
        experiment, real = self.experiment, self.experiment.training_set.values
        count, seed = pictures.num_drawn(experiment.training_set.image_shape), experiment.settings.evaluation_seed
        generates = experiment.game.objective.generates
        fake = snapshot(experiment.gan, count, seed, experiment.dataset.stored) if generates else None
        pictures.save_diagnosis(self.folder.diagnosis, records, self.health.intervals(), error, fake, real)

    def metrics(self, records: list[Record]) -> dict[str, Any]:
        if self.scorer is None:
            return {"last": {}, "best": {}, "floor": {}, "trajectory": {}, "unavailable": self.unavailable}
        evaluated = [record for record in records if "metrics" in record]
        best = best_record(records, self.scorer.leading, self.scorer.lower_is_better)
        named = {"last": evaluated[-1] if evaluated else {}, "best": best or {}}
        repeats = {name: record.get("repeats", {}) for name, record in named.items()}
        return {
            "last": evaluated[-1]["metrics"] if evaluated else {},
            "best": best["metrics"] if best else {},
            "best_step": best["step"] if best else None,
            "leading": self.scorer.leading,
            "headlines": list(self.scorer.headlines),
            "directions": dict(self.scorer.directions),
            "floor": self.floor,
            "trajectory": trajectory(records),
        } | ({"repeats": repeats} if any(repeats.values()) else {})


def fetch(step: Step, experiment: Experiment) -> Record:
    """The step's numbers, read from the device."""
    losses = {player: {name: loss.item() for name, loss in terms.items()} for player, terms in step.losses.items()}
    numbers = {"losses": losses, "scores": {side: score.item() for side, score in step.scores.items()}}
    real, fake = (examples.images.detach() for examples in (step.turn.real, step.turn.fake))
    if len(fake) and (spread := real.std(0).mean().item()) > 0:
        numbers["spread"] = fake.std(0).mean().item() / spread
    equilibrium = experiment.game.objective.equilibrium_loss()
    if equilibrium is not None:
        numbers["above_equilibrium"] = losses["discriminator"]["adversarial"] - equilibrium
    rates = {player.name: player.rate for player in experiment.players}
    norms = {player.name: gradient_norm(player) for player in experiment.players}
    numbers["rates"] = {name: rate for name, rate in rates.items() if rate is not None}
    numbers["gradient_norms"] = {name: norm for name, norm in norms.items() if math.isfinite(norm)}
    return numbers


def gradient_norm(player: Player) -> float:
    """The norm of all gradients of the player's last turn together, penalties included."""
    gradients = [parameter.grad for parameter in player.network.parameters() if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients).item()


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
