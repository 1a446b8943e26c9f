"""verified.json: what gan-verify has proved of a run, when and where; it holds for these files alone."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MaxLen
from typing_extensions import TypedDict

from gan_cli.files import is_there, read_json, remove, sha256, write_json
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.formats import MOST_NAMES, Count, Git, Hardware, Text
from gan_cli.runs.origin import is_ours, signature

NAME = "verified.json"


class Proved(TypedDict):
    """What was computed again; `exact` says whether it was the same to the last bit.

    `replayed` and `steps` count steps, `segments` and `of_segments` the pieces between checkpoints; `scored` has the
    steps whose scores were measured again, and `tolerance` is the largest relative difference that was allowed.
    """

    exact: bool
    tolerance: Annotated[float, Ge(0)]
    replayed: Count
    steps: Count
    segments: Count
    of_segments: Count
    scored: Annotated[list[Count], MaxLen(MOST_NAMES)]
    seed: Annotated[int, Ge(0), Le(2**64)]


class Verification(TypedDict):
    """verified.json; `files` has the SHA-256 of every file that it is about, and `signature` is of all the rest."""

    verdict: Literal["verified"]
    date: Text
    hardware: Hardware
    versions: Annotated[dict[Text, Text], MaxLen(MOST_NAMES)]
    git: Git | None
    proved: Proved
    files: Annotated[dict[str, str], MaxLen(MOST_NAMES)]
    signature: str


def digests(run: RunFolder) -> dict[str, str]:
    """The SHA-256 of the summary, the records and the checkpoints that are there, by path."""
    from gan_cli.runs.checkpoint import META, STATE, complete  # here: it imports torch

    files = [run.path / "summary.json", run.metrics]
    files += [folder / name for folder in complete(run.checkpoints) for name in (META, STATE)]
    return {str(file.relative_to(run.path)): sha256(file) for file in files if is_there(file)}


def write_verdict(run: RunFolder, content: dict[str, Any]) -> bool:
    """Writes the verdict, signed with this user's key, if the folder is this user's; returns whether it is."""
    if not is_own(run.path):
        return False
    write_json(run.path / NAME, content | {"signature": signature(content)})
    return True


def withdraw_verdict(run: RunFolder) -> None:
    """Removes a verdict that this user has written."""
    if is_own(run.path) and signed_verdict(run) is not None:
        remove(run.path / NAME)


def is_own(folder: Path) -> bool:
    return folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK)


def signed_verdict(run: RunFolder) -> Verification | None:
    """What this user's gan-verify has written, even if files have changed since; nobody else's is believed."""
    try:
        verdict: dict[str, Any] = read_json(run.path / NAME, Verification)
    except (OSError, ValueError):
        return None
    content = {key: value for key, value in verdict.items() if key != "signature"}
    return Verification(**verdict) if is_ours(content, verdict["signature"]) else None  # type: ignore[typeddict-item]


def read_verdict(run: RunFolder) -> Verification | None:
    """The verdict of this user's gan-verify on the files as they are; None without one, or if one of them changed."""
    verdict = signed_verdict(run)
    try:
        return verdict if verdict is not None and digests(run) == verdict["files"] else None
    except OSError:
        return None
