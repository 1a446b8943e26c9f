"""Files that are either complete or absent, even if the process dies while it writes."""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from typing_extensions import TypedDict

from gan_cli.errors import UserError
from gan_cli.text import printable

MAX_SLUG = 60
MOST_JSON_BYTES = 10_000_000  # of a file that describes a run


class Hashed(TypedDict):
    """The first `bytes` of a file, and their SHA-256."""

    sha256: str
    bytes: Annotated[int, Ge(0)]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path; what is written there replaces `path` on disk, or is removed after an error."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file or a folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_partial(folder: Path) -> None:
    """Removes incomplete files of a killed process; call it only while holding the folder's lock."""
    for leftover in folder.glob(".*.partial"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there; a folder is renamed first: what is left of it is seen as partial."""
    if path.is_dir() and not path.is_symlink():
        doomed = path
        if not path.name.endswith(".partial"):
            doomed = path.rename(path.with_name(f".{path.name}.{os.getpid()}.removed.partial"))
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)


def is_there(path: Path) -> bool:
    """Whether the path is a regular file; false also for a path that cannot be looked up."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def write_json(path: Path, content: Any) -> None:
    with atomic(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, hint: Any, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """The file's content as plain data, if it is of the type `hint`, such as a TypedDict: nothing in it is believed.

    Raises OSError for a file that cannot be read, and ValueError, one line, for one that is too large or holds
    something else.
    """
    from pydantic import ValidationError  # here: it takes a tenth of a second

    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise ValueError(f"{printable(path)} is not a file")
    if status.st_size > most_bytes:
        raise ValueError(f"{printable(path)} has more than {most_bytes:,} bytes")
    with path.open("rb") as file:
        content = file.read(status.st_size)
    try:
        return adapter(hint).validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(printable(f"{path}: {place + ': ' if place else ''}{first['msg']}")) from error


@cache
def adapter(hint: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(hint)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """The folder of results that can be computed again: GAN_CLI_CACHE, or in the user's cache folder.

    Without a home folder, a temporary folder of this user.
    """
    named = os.environ.get("GAN_CLI_CACHE")
    if named:
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "gan_cli"
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return temporary_cache()


def temporary_cache() -> Path:
    """Raises UserError if another user owns it, who could read and change what is in it."""
    folder = Path(tempfile.gettempdir()) / f"gan_cli-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise UserError(f"{folder} is not this user's, and there is no home folder: set GAN_CLI_CACHE to a folder")
    warnings.warn(f"there is no home folder: results are cached in {folder}, or set GAN_CLI_CACHE", stacklevel=3)
    return folder


def slug(text: str, most: int = MAX_SLUG) -> str:
    """The text as a part of a file's name: no separators, no leading dot, not too long."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)[:most].strip("-.")
