"""The console scripts: parse, build, run. torch is imported only once a command is known to be right."""

import difflib
import functools
import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_cli import __version__

if TYPE_CHECKING:
    from gan_cli.checkpoint import Checkpoint

HERE = Path(__file__).resolve().parent
CONF = next(folder for folder in (HERE / "conf", HERE.parent / "conf") if folder.is_dir())  # wheel, or repository

REFUSED_BY_HYDRA, REFUSED, FAILED = 1, 2, 1


def train() -> None:
    launch("train", train_task)


def evaluate() -> None:
    launch("eval", evaluate_task)


def sample() -> None:
    launch("sample", sample_task)


def launch(config_name: str, task: Callable[[DictConfig], None]) -> None:
    """Composes the config from the command line and runs the task; whatever the user can mend is one line."""
    program = f"gan-{config_name}"
    if "--version" in sys.argv[1:]:
        print(f"{program} {__version__}")
        return
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us, instead of Hydra's own printing
    warnings.showwarning = lambda message, *where: print(f"{program}: warning: {message}", file=sys.stderr)

    @functools.wraps(task)
    def job(composed: DictConfig) -> None:
        try:
            task(composed)
        except Refusal as refusal:
            # Of several jobs the others still run, unless the user wants to stop.
            if HydraConfig.get().mode == RunMode.MULTIRUN and refusal.code <= 128:
                raise
            leave(program, str(refusal), refusal.code)
        except BrokenPipeError:  # the reader of stdout has gone, as with | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        leave(program, explain(error, config_name), REFUSED_BY_HYDRA)
    except Refusal as refusal:
        leave(program, str(refusal), refusal.code)
    except KeyboardInterrupt:
        leave(program, "interrupted", 128 + signal.SIGINT)


class Refusal(Exception):
    """Ends the program with one line and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def leave(program: str, message: str, code: int) -> None:
    print(f"{program}: {message}", file=sys.stderr)
    sys.exit(code)


def explain(error: Exception, config_name: str) -> str:
    """Hydra's refusal of an override in one line, with what was probably meant."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return f"cannot read '{error.override}': {error.message.splitlines()[0]}"
    if choice := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        group, wanted = choice[1].removeprefix(f"{config_name}/"), choice[2]
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        return f"unknown {group} '{wanted}'{closest(wanted, known)} (known: {', '.join(known)})"
    if key := re.search(r"Could not override '([^']+)'", text):
        return f"unknown key '{key[1]}'{introduced_by(key[1]) or closest(key[1], known_keys(config_name))}"
    cause = f" ({error.__cause__})" if error.__cause__ else ""
    return " ".join(f"{text}{cause}".split())


def closest(word: str, known: list[str]) -> str:
    """The nearest known word, compared whole and by its last part."""
    by_ending = {key.rsplit(".", 1)[-1]: key for key in reversed(known)}
    close = difflib.get_close_matches(word, known, n=1) or [
        by_ending[ending] for ending in difflib.get_close_matches(word.rsplit(".", 1)[-1], by_ending, n=1)
    ]
    return f": did you mean {close[0]}?" if close else ": see --help"


def introduced_by(key: str) -> str:
    """The choice that brings this root key with it, as objective=realness brings num_outcomes."""
    for path in sorted(CONF.glob("*/*.yaml")):
        if "@package _global_" in path.read_text() and path.parent.name != "experiment" and key in OmegaConf.load(path):
            return f": it comes with {path.parent.name}={path.stem}"
    return ""


def known_keys(config_name: str) -> list[str]:
    """Every key of the config as composed from the group choices on the command line."""
    choices = [
        arg for arg in sys.argv[1:] if re.fullmatch(r"[\w/]+=[\w\[\],]+", arg) and (CONF / arg.split("=")[0]).is_dir()
    ]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        composed = hydra.compose(config_name, choices)
    return sorted(dotted(OmegaConf.to_container(composed)))


def dotted(node: Any, path: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    return [name for key, value in node.items() for name in (f"{path}{key}", *dotted(value, f"{path}{key}."))]


def train_task(composed: DictConfig) -> None:
    from gan_cli import checkpoint
    from gan_cli.build import UserError, read_config
    from gan_cli.runner import DivergedError

    overrides = list(HydraConfig.get().overrides.task)
    try:
        config, options = read_config(composed)
        if options["resume"] is None:
            choices = HydraConfig.get().runtime.choices
            short_name = f"{choices['objective']}-{choices['dataset']}"
            begin(config, options, overrides, OmegaConf.to_yaml(composed), short_name)
        else:
            resume(options, overrides)
    except (UserError, checkpoint.CheckpointError) as error:
        raise Refusal(str(error), REFUSED) from error
    except DivergedError as error:
        raise Refusal(f"diverged: {error}", FAILED) from error


def begin(
    config: dict[str, Any], options: dict[str, Any], overrides: list[str], composed: str, short_name: str
) -> None:
    """Trains in a new folder, or goes on in `run_dir` if the same config has been there before."""
    from gan_cli import checkpoint
    from gan_cli.build import UserError
    from gan_cli.run_folder import create

    found = None
    path = Path(options["run_dir"]) if options["run_dir"] is not None else None
    if path is not None:
        if path.exists() and not path.is_dir():
            raise UserError(f"run_dir={path} is not a folder")
        found = checkpoint.newest(path)
        strangers = {file.name for file in path.iterdir()} - {".lock"} if path.is_dir() else set()
        if strangers and ".hydra" not in strangers:
            raise UserError(f"run_dir={path} holds files that are not a run's: choose an empty or a new folder")
        if found is not None and found.config != config:
            raise UserError(f"run_dir={path} was started with another config ({difference(found.config, config)})")

    def folder() -> Path:
        return path if path is not None else create(Path(options["outputs"]), short_name)

    run(config, options["device"], found, folder, composed, overrides)


def resume(options: dict[str, Any], overrides: list[str]) -> None:
    """Continues the run in `resume` as it was started."""
    from gan_cli import checkpoint
    from gan_cli.build import UserError, trusted_config

    others = [override for override in overrides if override.split("=")[0] not in ("resume", "device", "trust")]
    if others:
        raise UserError(f"resume continues a run as it was started: remove {' '.join(others)}")
    path = Path(options["resume"])
    if not (path / "checkpoints").is_dir():
        raise UserError(f"resume={path} is not a run's folder")
    found = checkpoint.newest(path)
    if found is None:
        raise UserError(f"resume={path} has no checkpoint: it was never started")
    config = trusted_config(found, options["trust"])
    run(config, options["device"], found, lambda: path, "", found.overrides)


def run(
    config: dict[str, Any],
    device_name: str,
    found: "Checkpoint | None",
    make_folder: Callable[[], Path],
    composed: str,
    overrides: list[str],
) -> None:
    """Builds everything, and only then touches the run's folder and trains in it."""
    from gan_cli.build import UserError, build_experiment, build_scorer
    from gan_cli.engine import choose_device
    from gan_cli.report import print_summary
    from gan_cli.run_folder import RunFolder, RunInUseError
    from gan_cli.runner import Run, stop_on_signal

    if found is not None:
        finished = RunFolder(found.folder.parents[1])
        summary = finished.summary()
        if summary is not None and summary["status"] == "completed":
            print_summary(summary, finished.path)
            return
    try:
        device = choose_device(device_name)
    except ValueError as error:
        raise UserError(str(error)) from error
    experiment = build_experiment(config, device)
    scorer, unavailable = build_scorer(experiment)
    if unavailable:
        warnings.warn(f"training goes on without scores: {unavailable}", stacklevel=1)
    if found is not None:
        found.restore(experiment.parts(), device)
    try:
        folder = RunFolder(make_folder())
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the run's folder cannot be made: {error}") from error
    print(f"run folder: {folder.path}", file=sys.stderr)
    try:
        with folder.locked(), stop_on_signal() as stop:
            if found is None:
                folder.start(composed, overrides)
            folder.rewind(found.step if found is not None else 0)
            this = Run(
                experiment=experiment,
                scorer=scorer,
                unavailable=unavailable,
                folder=folder,
                config=config,
                overrides=overrides,
                step=found.step if found is not None else 0,
                seconds=found.seconds if found is not None else 0.0,
            )
            status = this.train(stop)
    except RunInUseError as error:
        raise UserError(str(error)) from error
    if status == "interrupted":
        number = stop.signal or signal.SIGINT
        remedy = f"gan-train resume={folder.path}"
        raise Refusal(f"interrupted at step {this.step}; go on with: {remedy}", 128 + number)
    print_summary(folder.summary() or {}, folder.path)


def difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Every leaf that differs, as key: old -> new."""
    before, after = flatten(old), flatten(new)
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    return "; ".join(f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}" for key in changed)


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {path: node}
    return {
        name: leaf for key, value in node.items() for name, leaf in flatten(value, f"{path}.{key}".lstrip(".")).items()
    }


def evaluate_task(composed: DictConfig) -> None:
    from rich.console import Console

    from gan_cli import checkpoint
    from gan_cli.build import UserError, build_experiment, build_scorer, trusted_config
    from gan_cli.engine import choose_device
    from gan_cli.evaluation import generate
    from gan_cli.report import scores_table
    from gan_cli.runner import protocol

    try:
        options = command_options(composed)
        found = checkpoint.find(Path(options["checkpoint"]), options["which"])
        config = trusted_config(found, options["trust"])
        for key in ("num_eval_images", "evaluation_seed"):
            if options[key] is not None:
                config[key] = options[key]
        if options["dataset"]["root"] is not None:
            config["dataset"]["root"] = options["dataset"]["root"]
        experiment = build_experiment(config, choose_device(options["device"]))
        found.restore(experiment.players.parts(), experiment.players.device)
        scorer, unavailable = build_scorer(experiment)
        if scorer is None:
            raise UserError(unavailable)
    except (UserError, ValueError) as error:
        raise Refusal(str(error), REFUSED) from error
    settings, count = experiment.settings, experiment.num_eval_images
    fake = generate(
        experiment.players, count, settings.evaluation_seed, experiment.calibration(), experiment.dataset.stored
    )
    metrics, floor = scorer.score(fake), scorer.floor()
    result = {
        "checkpoint": str(found.folder),
        "step": found.step,
        "metrics": metrics,
        "floor": floor,
        "protocol": protocol(experiment, scorer, count, settings.evaluation_seed),
    }
    table = scores_table(f"{found.folder}", {"score": metrics, "floor": floor})
    Console(stderr=True).print(table)
    print(json.dumps(result, indent=2))


def sample_task(composed: DictConfig) -> None:
    from gan_cli import checkpoint
    from gan_cli.build import UserError, build_dataset, load_players, trusted_config
    from gan_cli.engine import choose_device
    from gan_cli.evaluation import generate, scoring

    try:
        options = command_options(composed)
        found = checkpoint.find(Path(options["checkpoint"]), options["which"])
        config = trusted_config(found, options["trust"])
        players = load_players(found, config, choose_device(options["device"]))
        dataset = build_dataset(config)
        name = f"gan-sample-{found.folder.resolve().parents[1].name}-step-{found.step}-seed-{options['seed']}"
        out = Path(options["out"] or name)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"out={out} is there already and not an empty folder: choose another with out=<folder>")
    except (UserError, ValueError) as error:
        raise Refusal(str(error), REFUSED) from error
    import torch

    empty = torch.empty(0, *found.image_shape, device=players.device)
    values = generate(players, options["num_images"], options["seed"], empty, dataset.stored)
    out.mkdir(parents=True, exist_ok=True)
    dataset.draw(out / "grid.png", values, scoring(players))
    dataset.write(out, values)
    print(out)


def command_options(composed: DictConfig) -> dict[str, Any]:
    """The options of gan-eval or gan-sample, checked."""
    from gan_cli.build import UserError, option_problems

    try:
        options: dict[str, Any] = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(f"give a run's folder: {HydraConfig.get().job.name} checkpoint=outputs/<run>") from error
    if problems := option_problems(options):
        raise UserError("; ".join(problems))
    return options
