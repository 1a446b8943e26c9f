"""Output folders of commands."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_cli.errors import UserError
from gan_cli.files import write_json

MANIFEST, IMAGES = "sample.json", "images"  # in a folder of gan-sample


def free_folder(name: str) -> Path:
    """A new or empty folder for results; raises UserError, before any work, if it is in use or cannot be created."""
    out = Path(name)
    try:
        if out.exists() and (not out.is_dir() or any(file.name != ".lock" for file in out.iterdir())):
            raise UserError(f"out={out} exists and is not an empty folder: choose another with out=<folder>")
        home = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        if not home.is_dir() or not os.access(home, os.W_OK):
            raise UserError(f"out={out} cannot be created: {home} cannot be written to")
    except OSError as error:
        raise UserError(f"out={out} cannot be created: {error}") from error
    return out


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Creates the folder; raises UserError if files cannot be written to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error}") from error


def folder_for(options: dict[str, Any], name: str) -> Path:
    """The folder for the results; raises UserError, before any work, if it is in use or cannot be created."""
    default = Path(options["outputs"]) / "evaluations" / f"{name}-{secrets.token_hex(3)}"
    return free_folder(options["out"] or str(default))


def conclude(out: Path, result: dict[str, Any]) -> None:
    """Prints the result first: it is not lost if it cannot be written."""
    result |= {"folder": str(out)}
    print(json.dumps(result, indent=2), flush=True)
    with writing(out):
        write_json(out / "result.json", result)
