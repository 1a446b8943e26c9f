"""Output folders of commands."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan_cli.errors import UserError

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
