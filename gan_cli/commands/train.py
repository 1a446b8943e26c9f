"""What gan-train does once its config is composed."""

import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.build import build_experiment, build_scorer
from gan_cli.config.nodes import Config, flatten
from gan_cli.config.read import read_config
from gan_cli.config.trust import trusted_config
from gan_cli.engine import choose_device
from gan_cli.errors import InterruptedRunError, UserError
from gan_cli.runs import checkpoint
from gan_cli.runs.folder import RunFolder, create
from gan_cli.runs.run import Run, stop_on_signal
from gan_cli.runs.summary import print_summary


def train(composed: DictConfig) -> None:
    """gan-train: a new run, the one in `run_dir` again, or the one in `resume` further."""
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    config, options = read_config(composed)
    if options["resume"] is not None:
        resume(options, overrides)
    else:
        choices = hydra.runtime.choices
        begin(config, options, overrides, OmegaConf.to_yaml(composed), f"{choices['objective']}-{choices['dataset']}")


def begin(config: Config, options: dict[str, Any], overrides: list[str], composed: str, short_name: str) -> None:
    """Trains in a new folder, or goes on in `run_dir` if the same config has been there before."""
    if options["run_dir"] is None:
        run(config, options["device"], None, lambda: create(Path(options["outputs"]), short_name), composed, overrides)
        return
    path = Path(options["run_dir"])
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"run_dir={path} is not a folder")
    except OSError as error:
        raise UserError(f"run_dir={path} cannot be a folder: {error}") from error
    strangers = {file.name for file in path.iterdir()} - {".lock"} if path.is_dir() else set()
    if strangers and ".hydra" not in strangers:
        raise UserError(f"run_dir={path} holds files that are not a run's: choose an empty or a new folder")
    found = checkpoint.newest(path)
    if found is not None and found.config != config:
        changes = difference(found.config, config)
        raise UserError(f"run_dir={path} was started with another config ({changes}): choose another run_dir")
    run(config, options["device"], found, lambda: path, composed, overrides)


def resume(options: dict[str, Any], overrides: list[str]) -> None:
    """Continues the run in `resume` as it was started."""
    allowed = ("resume", "device", "trust")
    others = [override for override in overrides if override.split("=")[0].lstrip("+") not in allowed]
    if others:
        raise UserError(f"resume continues a run as it was started: remove {' '.join(others)}")
    path = Path(options["resume"])
    if not (path / "checkpoints").is_dir():
        raise UserError(f"resume={path} is not a run's folder")
    found = checkpoint.newest(path)
    if found is None:
        raise UserError(f"resume={path} has no checkpoint: it was never started")
    run(trusted_config(found, options["trust"]), options["device"], found, lambda: path, "", found.overrides)


def run(
    config: Config,
    device_name: str,
    found: checkpoint.Checkpoint | None,
    make_folder: Callable[[], Path],
    composed: str,
    overrides: list[str],
) -> None:
    """Builds everything, and only then touches the run's folder and trains in it."""
    if found is not None:
        finished = RunFolder(found.folder.parents[1])
        summary = finished.summary()
        if summary is not None and summary["status"] == "completed" and found.step == config["steps"]:
            print_summary(summary, finished.path)
            return
    with ExitStack() as held:
        if found is not None:  # a run that is still writing would take its checkpoint away from under us
            held.enter_context(RunFolder(found.folder.parents[1]).locked())
        experiment = build_experiment(config, choose_device(device_name))
        scorer, unavailable = build_scorer(experiment)
        if unavailable:
            warnings.warn(f"training goes on without scores: {unavailable}", stacklevel=1)
        if found is not None:
            found.restore(experiment.parts(), experiment.players.device)
        try:
            folder = RunFolder(make_folder())
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the run's folder cannot be made: {error}") from error
        if found is None:
            held.enter_context(folder.locked())
        stop = held.enter_context(stop_on_signal())
        print(f"run folder: {folder.path}", file=sys.stderr)
        newest = checkpoint.newest(folder.path)
        if (newest and newest.step) != (found and found.step):
            raise UserError(f"{folder.path} was written by another process in the meantime: repeat the command")
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
    if status == "interrupted":
        message = f"interrupted at step {this.step}; go on with: gan-train resume={folder.path}"
        raise InterruptedRunError(message, stop.signal or signal.SIGINT)
    print_summary(folder.summary() or {}, folder.path)


def difference(old: Config, new: Config) -> str:
    """Every leaf that differs, as key: old -> new."""
    before, after = flatten(old), flatten(new)
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    return "; ".join(f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}" for key in changed)
