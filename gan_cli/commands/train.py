"""What gan-train does with a checked config or with `resume`: it starts a run, or continues one."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gan_cli import launched
from gan_cli.config.build import (
    build_experiment,
    build_scorer,
    build_scorer_or_other,
    build_trackers,
    check_scorer,
    with_other_extractor,
)
from gan_cli.config.check import tracker_problems
from gan_cli.config.nodes import Config, as_before, difference
from gan_cli.config.pretrained import check_weights_families
from gan_cli.config.trust import check_trust
from gan_cli.engine import Engine, choose_engine
from gan_cli.errors import InterruptedRunError, UserError, one_line
from gan_cli.experiment import Experiment
from gan_cli.files import atomic, slug, sweep_partial
from gan_cli.metrics.metrics import Scorer
from gan_cli.ranks import ALONE, Ranks, join
from gan_cli.runs import checkpoint, pictures
from gan_cli.runs.checkpoint import Checkpoint
from gan_cli.runs.folder import RunFolder, create
from gan_cli.runs.follower import Follower
from gan_cli.runs.initial import initial_of, initialized
from gan_cli.runs.origin import is_ours, signature
from gan_cli.runs.progress import Progress, showing_work
from gan_cli.runs.run import Run
from gan_cli.runs.signals import stop_on_signal
from gan_cli.runs.sink import Record
from gan_cli.runs.summary import print_summary
from gan_cli.runs.tracking import follow, stored_trackers
from gan_cli.runs.trained import trusted_config, within
from gan_cli.text import printable

LAUNCHES = ".launches"  # in the folder of runs
ANSWER = "stopping: saving the run; Ctrl-C again stops at once"


@dataclass(frozen=True)
class Request:
    """What to train: the config as it is stored, its command line, and the checkpoint to continue from.

    `built` is the config to build from: its data may be in another place now. `initial` has the weights that a new run
    begins with.
    """

    config: Config
    built: Config
    overrides: list[str]
    composed: str  # the config before it was resolved, for .hydra/config.yaml
    device: str
    trackers: Config
    make_folder: Callable[[], Path]
    found: Checkpoint | None = None
    signature: str | None = None  # None: the config is this command line's, so this user signs it
    initial: Checkpoint | None = None
    pause_at: int | None = None
    outputs: Path | None = None  # where restarts of this launch look for the folder, if the command line names none


def train(config: Config, options: dict[str, Any], overrides: list[str], composed: str, short_name: str) -> None:
    """gan-train: starts a run in a new folder, or starts or continues the one in `run_dir`."""
    overrides = [override for override in overrides if override.partition("=")[0] != "pause_at"]

    def request() -> Request:
        initial, outputs = initial_of(options), Path(options["outputs"])
        begun = initialized(config, initial)
        place = options["run_dir"] or folder_of_launch(outputs)
        if place is not None:
            made = request_in_folder(Path(place), begun, options, overrides, composed)
        else:
            make_folder = partial(create, outputs, short_name)
            made = Request(begun, begun, overrides, composed, options["device"], options["tracker"], make_folder)
            made = replace(made, outputs=outputs)
        return replace(made, initial=initial, pause_at=options["pause_at"])

    run_together(request, options)


def resume(options: dict[str, Any]) -> None:
    """gan-train resume=<run>: continues the run as it was started, also beyond its end, to `steps`."""
    run_together(partial(request_to_resume, options), options)


def run_together(make: Callable[[], Request], options: dict[str, Any]) -> None:
    """Does what is requested, alone or with the processes that were started with this one, whose first one asks."""
    ranks = join(float(options["rank_timeout"]))
    request = None
    with ranks.together():
        if ranks.leads:
            request = make()
    request = ranks.told_by_first(request)
    assert request is not None
    run(request, ranks)
    ranks.close()


def folder_of_launch(outputs: Path) -> Path | None:
    """The run's folder, if torchrun has started its processes again after one has failed."""
    if not launched.num_restarts():
        return None
    try:
        return Path((outputs / LAUNCHES / slug(launched.launch())).read_text())
    except OSError as error:
        raise UserError(f"which run to continue is not known ({one_line(error)}): set run_dir=<folder>") from error


def remember_launch(outputs: Path, folder: Path) -> None:
    """For `folder_of_launch`."""
    if launched.may_restart():
        (outputs / LAUNCHES).mkdir(parents=True, exist_ok=True)
        with atomic(outputs / LAUNCHES / slug(launched.launch())) as partial:
            partial.write_text(str(folder))


def request_to_resume(options: dict[str, Any]) -> Request:
    path = Path(options["resume"])
    try:
        is_run = (path / "checkpoints").is_dir()
    except (OSError, ValueError) as error:
        raise UserError(f"resume={printable(path)} cannot be read: {one_line(error)}") from error
    if not is_run:
        raise UserError(f"resume={path} is not a run's folder")
    found = checkpoint.newest(path)
    if found is None:
        raise UserError(f"resume={path} has no checkpoint: it was never started")
    if options["steps"] is not None:
        found = extended(found, options["steps"])
    place = options["dataset"]
    built = trusted_config(found, options["trust"], place["root"], download=bool(place["download"]))
    trackers = resumed_trackers(path, options)
    signed = found.signature
    return Request(
        found.config,
        built,
        found.overrides,
        "",
        options["device"],
        trackers,
        partial(Path, path),
        found,
        signed,
        pause_at=options["pause_at"],
    )


def resumed_trackers(path: Path, options: dict[str, Any]) -> Config:
    """Those that are given, else those that this user has chosen for the run; nobody else's choice is believed.

    Raises UserError for a tracker that can no longer be started.
    """
    if options["tracker"] is not None:
        given: Config = options["tracker"]
        return given
    stored = stored_trackers(path)
    if stored is None:
        return {}
    try:
        check_trust({"tracker": stored["trackers"]}, options["trust"])
        problems = tracker_problems(stored["trackers"])
        if problems:
            raise UserError("; ".join(problems))
    except UserError as error:
        raise UserError(f"a tracker of {path} cannot go on: {error}; or do without: tracker=none") from error
    return stored["trackers"]


def extended(found: Checkpoint, steps: int) -> Checkpoint:
    """The checkpoint with a config of as many steps, signed if this user has signed the one that it has.

    Raises UserError for fewer steps than are trained.
    """
    if steps < found.step:
        raise UserError(f"steps={steps} is less than the {found.step} that are trained: give more, or leave it out")
    config = found.config | {"steps": steps}
    signed = signature(config) if is_ours(found.config, found.signature) else found.signature
    overrides = [o for o in found.overrides if o.partition("=")[0] != "steps"] + [f"steps={steps}"]
    return replace(found, config=config, overrides=overrides, signature=signed)


def request_in_folder(
    path: Path, config: Config, options: dict[str, Any], overrides: list[str], composed: str
) -> Request:
    """Starts in a new or empty folder, or continues in one with the same config."""
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"run_dir={path} is not a folder")
        present = {file.name for file in path.iterdir()} - {".lock"} if path.is_dir() else set()
    except (OSError, ValueError) as error:
        raise UserError(f"run_dir={printable(path)} cannot be a folder: {one_line(error)}") from error
    if present and ".hydra" not in present:
        raise UserError(f"run_dir={path} holds files that are not a run's: choose an empty or a new folder")
    found = checkpoint.newest(path)
    other = with_other_extractor(config)  # what it began with, if the weights were not there
    if found is not None and as_before(found.config) in [as_before(each) for each in (config, other) if each]:
        config = found.config
    if found is not None and found.config != config:
        changes = difference(found.config, config)
        advice = "choose another run_dir"
        if found.config | {"steps": config["steps"]} == config:
            advice += f", or let it go on: gan-train resume={path} steps={config['steps']}"
        raise UserError(f"run_dir={path} was started with another config ({changes}): {advice}")
    folder = partial(Path, path)
    return Request(config, config, overrides, composed, options["device"], options["tracker"], folder, found)


def run(request: Request, ranks: Ranks = ALONE) -> None:
    """Trains, unless the run is already complete, and prints its summary."""
    if request.pause_at is not None and request.pause_at < 1:
        raise UserError(f"pause_at={request.pause_at} must be at least 1")
    if ranks.told_by_first(ranks.leads and is_complete(request)):
        return
    with prepared(request, ranks) as this:
        status = this.train()
    if status == "interrupted" and this.paused:
        if ranks.leads:
            print(f"paused at step {this.step}; continue with: gan-train resume={this.folder.path}", file=sys.stderr)
        return
    if status == "interrupted":
        saved = "" if this.saved_step == this.step else f", saved at step {this.saved_step}"
        message = f"interrupted at step {this.step}{saved}; continue with: gan-train resume={this.folder.path}"
        raise InterruptedRunError(message, this.stop.signal or signal.SIGINT)
    if ranks.leads:
        print_summary(this.folder.summary() or {}, this.folder.path)


def is_complete(request: Request) -> bool:
    """Whether the run has ended as it was meant to; its summary is then printed again."""
    found = request.found
    if found is None:
        return False
    finished = RunFolder(found.folder.parents[1])
    summary = finished.summary()
    if summary is None or summary["status"] != "completed" or found.step != request.config["steps"]:
        return False
    if not finished.curves.exists():
        draw_curves(finished, request.config, summary)
    print_summary(summary, finished.path)
    return True


def draw_curves(finished: RunFolder, config: Config, summary: Record) -> None:
    """The last picture of a run that was killed after its summary."""
    with finished.locked():
        sweep_partial(finished.path)
        images = summary["cost"]["images_seen"] // summary["step"]
        pictures.save_curves(finished.curves, finished.records(), summary["metrics"].get("floor", {}), images)


@contextmanager
def prepared(request: Request, ranks: Ranks) -> Iterator[Run]:
    """Builds everything, and only then writes to the run's folder, which is locked until the run ends.

    Of several processes the first one has the folder.
    """
    found = request.found
    with ExitStack() as held:
        with ranks.together():
            if found is not None and ranks.leads:  # a run that is still writing could remove this checkpoint
                held.enter_context(RunFolder(found.folder.parents[1]).locked())
            trackers = build_trackers(request.trackers) if ranks.leads else {}
            with showing_work() if ranks.leads else nullcontext():
                with nullcontext() if found is None else within(found):
                    experiment = build_experiment(request.built, choose_engine(request.device, ranks))
                experiment, scorer, unavailable, request = with_scorer(experiment, request)
            check_scorer(scorer, experiment.gan, experiment.settings.num_evaluation_seeds)
            check_weights_families(request.config, scorer)
            if unavailable:
                warnings.warn(f"training continues without scores: {unavailable}", stacklevel=1)
            if ranks.leads:
                warn_of_threads(experiment.game.engine)
            if found is not None:
                found.restore(experiment.parts())
            elif request.initial is not None:
                request.initial.restore(experiment.gan.networks())
        ranks.copy_from_first(experiment.gan.tensors())
        with ranks.together():
            folder = make_run_folder(request.make_folder) if ranks.leads else None
            if folder is not None:
                if request.outputs is not None:
                    remember_launch(request.outputs, folder.path)
                if found is None:
                    held.enter_context(folder.locked())
            stop = held.enter_context(stop_on_signal(ANSWER if ranks.leads else ""))
            if folder is not None:
                begin_in(folder, request, experiment)
                progress = held.enter_context(Progress(experiment.settings.steps, 0 if found is None else found.step))
        step = found.step if found is not None else 0
        path = ranks.told_by_first(None if folder is None else folder.path)
        assert path is not None
        make = Run if ranks.leads else Follower
        yield make(
            experiment=experiment,
            scorer=scorer,
            unavailable=unavailable,
            folder=folder or RunFolder(path),
            sinks=[]
            if folder is None
            else [folder, progress, *follow(folder, request.trackers, trackers, request.config)],
            stop=stop,
            config=request.config,
            overrides=request.overrides,
            signature=signature(request.config) if request.signature is None else request.signature,
            step=step,
            saved_step=step,
            seconds=found.seconds if found is not None else 0.0,
            concluded=found.concluded if found is not None else True,
            pause_at=request.pause_at,
        )


def begin_in(folder: RunFolder, request: Request, experiment: Experiment) -> None:
    """Makes the folder ready for what comes after the checkpoint, or for a new run."""
    found = request.found
    print(f"run folder: {folder.path}", file=sys.stderr)
    newest = checkpoint.newest(folder.path)
    if (newest and newest.step) != (found and found.step):
        raise UserError(f"{folder.path} was written by another process in the meantime: repeat the command")
    if found is None:
        folder.start(request.composed, request.overrides)
    else:  # it may go on to another step than the one it was saved for
        checkpoint.rewrite_config(found)
    step = found.step if found is not None else 0
    checkpoint.sweep_incomplete(folder.checkpoints)
    folder.rewind(step, found is None or found.concluded, None if found is None else found.records)
    folder.sessions.begin(step=step, steps=experiment.settings.steps, engine=experiment.game.engine)


def with_scorer(experiment: Experiment, request: Request) -> tuple[Experiment, Scorer | None, str, Request]:
    """The scorer, or why there is none. A new run may need another extractor, which its config then names."""
    training_set, num_fake = experiment.training_set, experiment.num_eval_images
    conditional = experiment.game.conditional
    if request.found is not None:
        scorer, unavailable = build_scorer(experiment.dataset, training_set, num_fake, conditional=conditional)
        return experiment, scorer, unavailable, request
    config, dataset, scorer, unavailable = build_scorer_or_other(
        request.config, experiment.dataset, training_set, num_fake, conditional=conditional
    )
    return replace(experiment, dataset=dataset), scorer, unavailable, replace(request, config=config, built=config)


def warn_of_threads(engine: Engine) -> None:
    """They are not chosen here: a run's last bits depend on their number."""
    if "OMP_NUM_THREADS" not in os.environ and engine.gain_of_threads() < 1.1:
        warnings.warn(
            f"other programs use this processor, and {engine.num_threads()} threads wait for each other: "
            "OMP_NUM_THREADS=1 is likely to be faster",
            stacklevel=2,
        )


def make_run_folder(make_folder: Callable[[], Path]) -> RunFolder:
    try:
        folder = RunFolder(make_folder())
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the run's folder cannot be created: {one_line(error)}") from error
    return folder
