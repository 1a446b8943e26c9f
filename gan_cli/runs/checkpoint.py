"""Checkpoints: a folder with tensors and plain JSON, hashed, written completely or not at all, and not trusted."""

import json
import math
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch

from gan_cli.config.check import config_problems
from gan_cli.config.nodes import Config
from gan_cli.config.trust import check_size, check_trust
from gan_cli.errors import CheckpointError, UserError
from gan_cli.files import atomic, sha256, sync, write_json
from gan_cli.part import Stateful

FORMAT = 2
STATE, META = "state.pt", "meta.json"
MAX_META_BYTES = 10_000_000


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose hash has been checked; `config` is data from a file and not trusted."""

    folder: Path
    step: int
    seconds: float  # of training, up to this step
    config: dict[str, Any]
    image_shape: tuple[int, int, int]
    overrides: list[str]
    concluded: bool  # whether the scores and pictures that were due after the step are done

    def restore(self, parts: Mapping[str, Stateful], device: torch.device) -> None:
        """Loads every part; raises CheckpointError if the file does not fit."""
        state = load_state(self.folder / STATE, device)
        for name, part in parts.items():
            try:
                part.load_state_dict(state[name])
            except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
                reason = " ".join(str(error).split())[:500]
                raise CheckpointError(f"{self.folder} does not fit this experiment's {name}: {reason}") from error


def save(
    checkpoints: Path,
    parts: Mapping[str, Stateful],
    *,
    step: int,
    seconds: float,
    config: dict[str, Any],
    image_shape: tuple[int, int, int],
    overrides: list[str],
    concluded: bool,
) -> Path:
    """Writes `checkpoints`/step-<step>, then points `latest` at it; the folder appears only when it is complete."""
    folder = checkpoints / f"step-{step:08d}"
    if is_unconcluded(folder):  # the same step of the same run: never without a checkpoint in between
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        write_json(folder / META, meta | {"concluded": concluded})
        point(checkpoints, "latest", folder)
        return folder
    partial = checkpoints / f".{folder.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with (partial / STATE).open("wb") as file:
            torch.save({name: part.state_dict() for name, part in parts.items()}, file)
        meta = {
            "format": FORMAT,
            "step": step,
            "seconds": seconds,
            "image_shape": image_shape,
            "config": config,
            "overrides": overrides,
            "concluded": concluded,
            "files": {STATE: {"sha256": sha256(partial / STATE), "bytes": (partial / STATE).stat().st_size}},
            "torch": torch.__version__,
        }
        write_json(partial / META, meta)
        sync(partial / STATE)
        sync(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        sync(checkpoints)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    point(checkpoints, "latest", folder)
    return folder


def is_unconcluded(folder: Path) -> bool:
    """Whether an undamaged checkpoint is there whose step is not concluded."""
    try:
        return not open_checkpoint(folder).concluded
    except CheckpointError:
        return False


def point(checkpoints: Path, name: str, folder: Path) -> None:
    with atomic(checkpoints / name) as partial:
        partial.write_text(folder.name + "\n")


def prune(checkpoints: Path, keep: int) -> None:
    """Removes all but the `keep` newest and the best."""
    best = named(checkpoints, "best")
    for folder in complete(checkpoints)[:-keep]:
        if folder != best:
            shutil.rmtree(folder)


def complete(checkpoints: Path) -> list[Path]:
    """Checkpoint folders, oldest step first."""
    return sorted(folder for folder in checkpoints.glob("step-*") if (folder / META).is_file())


def named(checkpoints: Path, name: str) -> Path | None:
    """The checkpoint that `best` or `latest` names, if it exists."""
    try:
        folder = checkpoints / Path((checkpoints / name).read_text().strip()).name
    except (OSError, ValueError):
        return None
    return folder if (folder / META).is_file() else None


def newest(run: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint of a run folder, with a warning for each damaged one; None without any."""
    damaged = []
    for folder in reversed(complete(run / "checkpoints")):
        try:
            found = open_checkpoint(folder)
        except CheckpointError as error:
            damaged.append(error)
            continue
        for reason in damaged:
            warnings.warn(f"{reason}; using the one before", stacklevel=2)
        return found
    if damaged:
        raise CheckpointError(f"no undamaged checkpoint is left in {run}: {damaged[0]}")
    return None


def find(path: Path, which: str) -> Checkpoint:
    """The checkpoint at `path`, or the `latest` or `best` of the run folder at `path`."""
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise CheckpointError(f"checkpoint={path} cannot be read: {error}") from error
    if not exists:
        raise CheckpointError(f"checkpoint={path} does not exist: give a run folder or one of its checkpoints")
    if path.name in (STATE, META):
        path = path.parent
    if (path / META).is_file():
        return open_checkpoint(path)
    if not (path / "checkpoints").is_dir():
        raise CheckpointError(f"checkpoint={path} is neither a run folder nor a checkpoint of this program")
    if which == "best":
        best = named(path / "checkpoints", "best")
        if best is None:
            raise CheckpointError(f"{path} has no best checkpoint, it was never scored: use which=latest")
        return open_checkpoint(best)
    latest = newest(path)
    if latest is None:
        raise CheckpointError(f"{path} has no checkpoint yet")
    return latest


def open_checkpoint(folder: Path) -> Checkpoint:
    """Reads the JSON and checks the hash of the tensors; nothing is unpickled."""
    meta_file, state_file = folder / META, folder / STATE
    try:
        if meta_file.stat().st_size > MAX_META_BYTES:
            raise CheckpointError(f"{meta_file} is larger than any checkpoint's: it is not one")
        meta = json.loads(meta_file.read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            raise CheckpointError(f"{folder} is of checkpoint format {meta['format']}; this version reads {FORMAT}")
        expected = meta["files"][STATE]
        if state_file.stat().st_size != expected["bytes"] or sha256(state_file) != expected["sha256"]:
            raise CheckpointError(f"checkpoint {folder} is damaged: {STATE} is not what was written")
        channels, height, width = (int(size) for size in meta["image_shape"])
        if meta["step"] < 0 or not math.isfinite(meta["seconds"]):
            raise ValueError("no such step")
        return Checkpoint(
            folder=folder,
            step=int(meta["step"]),
            seconds=float(meta["seconds"]),
            config=dict(meta["config"]),
            image_shape=(channels, height, width),
            overrides=[str(override) for override in meta["overrides"]],
            concluded=bool(meta["concluded"]),
        )
    except OSError as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"checkpoint {folder} is damaged: {META} is not what was written") from error


def trusted_config(found: Checkpoint, trust: list[str]) -> Config:
    """The checkpoint's config, after a check that it names only trusted classes with valid parameters."""
    config = found.config
    check_trust(config, trust)
    problems = config_problems(config)
    if not problems and found.step > config["steps"]:
        problems = [f"step {found.step} is beyond steps={config['steps']}"]
    if problems:
        raise UserError(f"the config of {found.folder} is refused: {'; '.join(problems)}")
    check_size(config, found.image_shape, (found.folder / STATE).stat().st_size)
    return config


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Tensors and plain containers only; a compressed file is refused, because its unpacked size has no bound."""
    try:
        with ZipFile(path) as archive:
            if any(member.compress_type != ZIP_STORED for member in archive.infolist()):
                raise CheckpointError(f"{path} is compressed, which this program never writes")
        state = torch.load(path, map_location=device, weights_only=True)
    except (BadZipFile, UnpicklingError, RuntimeError, EOFError, KeyError, OSError, AttributeError) as error:
        raise CheckpointError(f"{path} does not hold a checkpoint's tensors") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} does not hold a checkpoint's tensors")
    return state
