"""Checkpoints: a folder with tensors and plain JSON, hashed, written completely or not at all, and not trusted."""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le, MaxLen
from typing_extensions import TypedDict

from gan_cli.errors import CheckpointError, one_line
from gan_cli.files import Hashed, atomic, is_there, read_json, remove, sha256, sync, write_json
from gan_cli.part import Stateful
from gan_cli.runs.state import restore_state, write_state
from gan_cli.text import printable

FORMAT = 4
WRITTEN_BY = {1: "gan_cli 0.1.0"}  # by the format of their checkpoints
STATE, META = "state.safetensors", "meta.json"
MOST_STEPS = 10**12
MOST_CLASSES, MOST_IMAGES = 100_000, 10**12
MOST_LOOKS = 20  # for a checkpoint of a run that goes on
Side = Annotated[int, Ge(1), Le(65_536)]


class Meta(TypedDict):
    """meta.json of this format."""

    step: Annotated[int, Ge(0), Le(MOST_STEPS)]
    seconds: Annotated[float, Ge(0), Le(1e12)]
    image_shape: tuple[Side, Side, Side]
    class_counts: Annotated[list[Annotated[int, Ge(0), Le(MOST_IMAGES)]], MaxLen(MOST_CLASSES)]
    config: dict[str, Any]
    overrides: list[str]
    concluded: bool
    signature: str
    state: Hashed
    records: Hashed


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose hash has been checked; `config` is data from a file and not trusted."""

    folder: Path
    step: int
    seconds: float  # of training, up to this step
    config: dict[str, Any]
    image_shape: tuple[int, int, int]
    class_counts: list[int]  # the training images of each class
    overrides: list[str]
    concluded: bool  # whether the scores and pictures that were due after the step are done
    signature: str  # of the config, by the user who started the run
    records: Hashed  # what metrics.jsonl held
    state: Hashed  # its tensors

    @property
    def num_bytes(self) -> int:
        """Of the tensors."""
        return (self.folder / STATE).stat().st_size

    def restore(self, parts: Mapping[str, Stateful]) -> None:
        """Copies the state into the parts; raises CheckpointError, before any is changed, if it does not fit."""
        restore_state(self.folder / STATE, parts)


def save(
    checkpoints: Path,
    parts: Mapping[str, Stateful],
    *,
    step: int,
    seconds: float,
    config: dict[str, Any],
    image_shape: tuple[int, int, int],
    class_counts: Sequence[int],
    overrides: list[str],
    concluded: bool,
    signature: str,
    records: Hashed,
) -> Path:
    """Writes `checkpoints`/step-<step>, then points `latest` at it; the folder appears only when it is complete.

    Raises OSError, with the old checkpoints unchanged, if it cannot be written.
    """
    folder = checkpoints / name_of(step)
    changing = {"concluded": concluded, "records": records}
    if is_unconcluded(folder):  # the same step of the same run: never without a checkpoint in between
        write_json(folder / META, read_json(folder / META, dict[str, Any]) | changing)
        point(checkpoints, "latest", folder)
        return folder
    partial = checkpoints / f".{folder.name}.{os.getpid()}.partial"
    remove(partial)
    partial.mkdir(parents=True)
    try:
        write_state(partial / STATE, parts)
        meta = {
            "format": FORMAT,
            "step": step,
            "seconds": seconds,
            "image_shape": image_shape,
            "class_counts": class_counts,
            "config": config,
            "overrides": overrides,
            "signature": signature,
            "state": {"sha256": sha256(partial / STATE), "bytes": (partial / STATE).stat().st_size},
            "torch": torch.__version__,
            **changing,
        }
        write_json(partial / META, meta)
        sync(partial / STATE)
        sync(partial)
        remove(folder)
        partial.rename(folder)
        sync(checkpoints)
    finally:
        remove(partial)
    point(checkpoints, "latest", folder)
    return folder


def rewrite_config(found: Checkpoint) -> None:
    """Writes the config, overrides and signature of `found` into its folder, in place of those that are there."""
    meta = read_json(found.folder / META, dict[str, Any])
    changed = meta | {"config": found.config, "overrides": found.overrides, "signature": found.signature}
    if changed != meta:
        write_json(found.folder / META, changed)


def name_of(step: int) -> str:
    return f"step-{step:08d}"


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
            remove(folder)


def sweep_incomplete(checkpoints: Path) -> None:
    """Removes folders of checkpoints that a killed process has not completely written or removed."""
    for folder in checkpoints.glob("step-*"):
        if step_of(folder) is not None and not is_there(folder / META):
            remove(folder)


def step_of(folder: Path) -> int | None:
    digits = re.fullmatch(r"step-(\d{8,12})", folder.name)
    return int(digits[1]) if digits else None


def complete(checkpoints: Path) -> list[Path]:
    """Checkpoint folders, oldest step first."""
    found = {folder: step_of(folder) for folder in checkpoints.glob("step-*") if is_there(folder / META)}
    return sorted((folder for folder, step in found.items() if step is not None), key=lambda folder: found[folder] or 0)


def named(checkpoints: Path, name: str) -> Path | None:
    """The checkpoint that `best` or `latest` names, if it exists."""
    try:
        with (checkpoints / name).open("rb") as file:
            folder = checkpoints / file.read(100).decode("ascii").strip()
    except (OSError, ValueError):
        return None
    return folder if step_of(folder) is not None and is_there(folder / META) else None


def newest(run: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint of a run folder, with a warning for each damaged one; None without any.

    The run may be going on: what it removes while it is read is not damaged, and newer ones are there by then.
    """
    for _ in range(MOST_LOOKS):
        damaged, gone = [], False
        for folder in reversed(complete(run / "checkpoints")):
            try:
                found = open_checkpoint(folder)
            except CheckpointError as error:
                if is_there(folder / META):
                    damaged.append(error)
                gone |= not is_there(folder / META)
                continue
            for reason in damaged:
                warnings.warn(f"{reason}; using the one before", stacklevel=2)
            return found
        if damaged:
            raise CheckpointError(f"no undamaged checkpoint is left in {run}: {damaged[0]}")
        if not gone:
            return None
    raise CheckpointError(f"{run} is being written faster than its checkpoints can be read: wait for it")


def find(path: Path, which: str, key: str = "checkpoint") -> Checkpoint:
    """The checkpoint at `path`, or the `latest` or `best` of the run folder at `path`; `key` is the option's name."""
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:  # a name that is too long, a folder that may not be read
        raise CheckpointError(f"{key}={printable(path)} cannot be read: {one_line(error)}") from error
    if not exists:
        raise CheckpointError(f"{key}={path} does not exist: give a run folder or one of its checkpoints")
    if path.name in (STATE, META):
        path = path.parent
    if is_there(path / META):
        return open_checkpoint(path)
    if not (path / "checkpoints").is_dir():
        raise CheckpointError(f"{key}={path} is neither a run folder nor a checkpoint of this program")
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
    """Reads the JSON and checks the hash of the tensors."""
    state_file = folder / STATE
    try:
        written = read_json(folder / META, dict[str, Any]).get("format")
        if written != FORMAT:
            writer = WRITTEN_BY.get(written, "another version") if isinstance(written, int) else "another program"
            raise CheckpointError(
                f"{folder} is of checkpoint format {printable(written, 40)}, written by {writer}; "
                f"this version reads {FORMAT}"
            )
        meta: Meta = read_json(folder / META, Meta)
        expected = meta["state"]
        if not is_there(state_file):
            raise CheckpointError(f"checkpoint {folder} cannot be read: {STATE} is not there")
        if state_file.stat().st_size != expected["bytes"] or sha256(state_file) != expected["sha256"]:
            raise CheckpointError(f"checkpoint {folder} is damaged: {STATE} is not what was written")
    except OSError as error:
        raise CheckpointError(f"checkpoint {folder} cannot be read: {one_line(error)}") from error
    except ValueError as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {one_line(error)}") from error
    return Checkpoint(folder, **meta)
