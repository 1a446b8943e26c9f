"""The processes that trained a run: when each began, at which step, on what machine and with which code."""

import json
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli.files import atomic
from gan_cli.text import printable

if TYPE_CHECKING:  # the console scripts import this module before torch is needed
    from gan_cli.engine import Engine

MOST_BYTES = 1_000_000  # of the file that is read
SECONDS_OF_GIT = 5.0


@dataclass(frozen=True)
class Sessions:
    """A file with one JSON object a line, the first process first; what cannot be read in it is left out."""

    path: Path

    def all(self) -> list[dict[str, Any]]:
        from gan_cli.runs.formats import read_session  # here: pydantic takes a tenth of a second

        try:
            with self.path.open("rb") as file:
                lines = file.read(MOST_BYTES).splitlines()
        except OSError:
            return []
        return [session for line in lines if (session := read_session(line)) is not None]

    def begin(self, *, step: int, steps: int, engine: "Engine") -> None:
        """Adds this process, which continues after `step` and is to end after `steps`."""
        this = {"started": now(), "step": step, "steps": steps, "hardware": hardware(engine), "git": git(Path.cwd())}
        with atomic(self.path) as partial:
            partial.write_text("".join(json.dumps(session) + "\n" for session in [*self.all(), this]))


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def hardware(engine: "Engine") -> dict[str, str | int | None]:
    """What seconds depend on; no name of the machine or its user."""
    together = {"processes": engine.ranks.size} if engine.ranks.size > 1 else {}
    return {"cpu": cpu_name(), "gpu": engine.gpu_name(), "threads": engine.num_threads(), **together}


def cpu_name() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return printable(value.strip())
    return printable(platform.processor() or platform.machine())


def git(folder: Path) -> dict[str, str | bool] | None:
    """The commit of the repository around the folder, and whether its files differ from it; None without one."""
    commit = output_of_git(folder, "rev-parse", "--verify", "HEAD")
    changes = output_of_git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def output_of_git(folder: Path, *arguments: str) -> str | None:
    # fsmonitor is a program that the repository's own settings may name
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    with suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_OF_GIT, check=True)
        return ended.stdout.strip()
    return None


def times_and_machine(sessions: list[dict[str, Any]]) -> Mapping[str, Any]:
    """What summary.json says of them: of the run, its start and this moment; of the last process, machine and code."""
    last = sessions[-1] if sessions else {}
    return {
        "started": sessions[0]["started"] if sessions else None,
        "ended": now(),
        "hardware": last.get("hardware"),
        "git": last.get("git"),
        "sessions": sessions,
    }
