"""Runs found in folders: the config, state and scores of each."""

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gan_cli.config.nodes import Config, flatten
from gan_cli.config.overrides import key_of, value_of
from gan_cli.errors import UserError
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.sink import Record
from gan_cli.sweep.plan import fingerprint
from gan_cli.sweep.sweep_folder import State, SweepFolder, state_of

NOT_OF_THE_METHOD = {"seed", "log_every", "sample_every", "checkpoint_every", "keep_checkpoints"}


@dataclass(frozen=True)
class Result:
    """One run; `summary` is empty if the run was stopped before it wrote one.

    `published` has the scores that others report for its setting, by metric, and `source` says where.
    """

    run: RunFolder
    state: State
    overrides: list[str]
    config: Config
    summary: Record
    error: str
    published: dict[str, float] = field(default_factory=dict)
    source: str = ""

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def method(self) -> str:
        """The part of the config that runs of one method share: all that can change results, except the seed."""
        return json.dumps({k: v for k, v in self.config.items() if k not in NOT_OF_THE_METHOD}, sort_keys=True)

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of the last step; a run that did not complete has none, even if earlier scores were good."""
        return self.summary["metrics"]["last"] if self.state == "completed" else {}

    @cached_property
    def records(self) -> list[Record]:
        return self.run.records()

    def value(self, key: str) -> Any:
        """A setting's value in the overrides, else in the objective's facts, else in the config."""
        given = [value_of(override) for override in self.overrides if key_of(override) == key]
        facts = self.summary.get("objective", {})
        return given[-1] if given else facts.get(key, flatten(self.config).get(key))


def gather(folders: Iterable[Path]) -> list[Result]:
    """Every run in these folders, each config once; a sweep's runs keep their order.

    Raises UserError if a folder does not exist, or if there are no runs.
    """
    found: dict[str, Result] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder")
        for result in runs_in(folder):
            digest = fingerprint(result.config)
            known = found.get(digest)
            if known is not None and known.run.path.resolve() != result.run.path.resolve():
                warnings.warn(f"the same run twice, counted once: {known.run.path} and {result.run.path}", stacklevel=1)
            if known is None or (known.state != "completed" and result.state == "completed"):
                found[digest] = result
    if not found:
        raise UserError(f"no runs in {', '.join(map(str, folders))}")
    return list(found.values())


def runs_in(folder: Path) -> Iterator[Result]:
    of_sweeps = set()
    for file in sorted(folder.rglob("sweep.json")):
        sweep = SweepFolder(file.parent)
        for name, job in sweep.read().get("jobs", {}).items():
            run = sweep.run(name)
            of_sweeps.add(run.path)
            summary = run.summary() or {}
            yield Result(
                run,
                state_of(run, job["exit_code"]),
                job["overrides"],
                job["config"],
                summary,
                job["error"],
                job.get("published", {}),
                job.get("source", ""),
            )
    for file in sorted(folder.rglob("summary.json")):
        run = RunFolder(file.parent)
        written = run.summary()
        if run.path in of_sweeps or written is None:
            continue
        if "config" not in written:
            warnings.warn(f"{run.path} was written by an earlier version, without its config: left out", stacklevel=1)
            continue
        yield Result(run, written["status"], written["overrides"], written["config"], written, written["error"])


def sweep_facts(folders: Sequence[Path], key: str) -> Any:
    """The sweep's own entry, such as its picture or its baseline, if the folders contain exactly one sweep."""
    files = [file for folder in folders for file in folder.rglob("sweep.json")]
    return SweepFolder(files[0].parent).read().get(key) if len(files) == 1 else None
