"""Runs found in folders: the config, state and scores of each."""

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from gan_cli.config.nodes import PLACES, flatten
from gan_cli.config.overrides import key_of, value_of
from gan_cli.errors import UserError, one_line
from gan_cli.leaderboard.cache import Cache
from gan_cli.leaderboard.series import Series, width_for
from gan_cli.leaderboard.statistics import is_number
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.sink import Record
from gan_cli.runs.verdict import Verification, read_verdict
from gan_cli.sweep.formats import Content, Tuned
from gan_cli.sweep.sweep_folder import State, SweepFolder, state_of
from gan_cli.sweep.tuning import FOLDER as TUNING
from gan_cli.text import printable

LABEL_SEED = "dataset.label_seed"  # which images keep their label: another draw is another seed of the method
NOT_OF_THE_METHOD = {
    "seed",
    LABEL_SEED,
    "log_every",
    "sample_every",
    "checkpoint_every",
    "keep_checkpoints",
    "ema_snapshots_every",
    "accumulate",
    "on_divergence",
    "engine.compile",
    "engine.capture",
    *PLACES,
}
USUAL = {
    "engine.precision": "float32",
    "engine.sync_batch_norm": False,
    "num_evaluation_seeds": 1,
}  # what runs of earlier versions do not say, as it is what they did
shown = lru_cache(10_000)(printable)  # configs have most of their text in common


@dataclass(frozen=True)
class Result:
    """One run; `summary` is empty if the run was stopped before it wrote one.

    `published` has the scores that others report for its setting, by metric, and `source` says where. All text but that
    in `config` is printable.
    """

    run: RunFolder
    state: State
    overrides: list[str]
    config: Mapping[str, Any]
    summary: Record
    error: str
    published: dict[str, float] = field(default_factory=dict)
    source: str = ""
    tuned: Tuned | None = None  # how its learning rates were chosen, if they were
    cache: Cache = field(default_factory=Cache, repr=False, compare=False)

    @property
    def name(self) -> str:
        return printable(self.run.path.name)

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """The training seed, and which images keep their label."""
        return self.seed, int(flatten({"dataset": self.config.get("dataset")}).get(LABEL_SEED) or 0)

    @cached_property
    def method(self) -> str:
        """The part of the config that runs of one method share: all that can change results, except the seed."""
        return json.dumps(self.of_the_method, sort_keys=True)

    @cached_property
    def of_the_method(self) -> dict[str, Any]:
        """The settings by dotted keys that can change results, except the seed."""
        return of_the_method(self.config)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The method's config by dotted keys; its text is printable."""
        return {
            shown(key): value if value is None or isinstance(value, int | float) else shown(str(value))
            for key, value in self.of_the_method.items()
        }

    @property
    def protocol(self) -> dict[str, Any]:
        """How its scores were measured; empty for a run that wrote no summary."""
        return self.summary.get("protocol", {})

    @cached_property
    def data(self) -> dict[str, Any]:
        """The part of the config that says which images there are, where, and how they are scored."""
        measured = {key: self.config.get(key) for key in ("dataset", "num_eval_images", "evaluation_seed")}
        measured["num_evaluation_seeds"] = self.config.get("num_evaluation_seeds", 1)
        return {key: value for key, value in flatten(measured).items() if key != LABEL_SEED}

    @property
    def dataset(self) -> str:
        """What the data set is called in its config."""
        named = self.data.get("dataset.name") or str(self.data.get("dataset._target_")).rsplit(".", 1)[-1]
        return printable(re.sub("(?<=[a-z])(?=[A-Z])", "_", str(named)).lower())

    @property
    def identity(self) -> tuple[str, int, str]:
        """The method, its seeds, the images and the table: two runs that agree in all of them are the same run."""
        images = self.protocol.get("images_sha256") or [self.data.get(place) for place in sorted(PLACES)]
        return self.method, self.seed, json.dumps([images, self.seeds[1], self.tuned is not None])

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of the last step; a run that did not complete has none, even if earlier scores were good."""
        return self.summary["metrics"]["last"] if self.state == "completed" else {}

    def repeats(self, metric: str) -> list[float]:
        """The scores of the last step with each evaluation seed; none if there was only one."""
        scores = self.summary["metrics"].get("repeats", {}).get("last", {}).get(metric, [])
        return scores if self.state == "completed" and all(map(is_number, scores)) else []

    @property
    def warnings(self) -> list[str]:
        return self.summary.get("warnings", [])

    @cached_property
    def series(self) -> Series:
        """Its records, up to the first that is damaged, which is named in a warning."""
        found = self.cache.series(self.run, width_for(self.config["steps"]))
        if found.damaged is not None:
            warnings.warn(
                f"{printable(self.run.metrics)}: line {found.damaged} is not a record: it and what follows are left "
                "out of the curves",
                stacklevel=1,
            )
        return found

    @cached_property
    def verdict(self) -> Verification | None:
        """What this user's gan-verify says of its files as they are."""
        return read_verdict(self.run)

    def value(self, key: str) -> Any:
        """A setting's value in the overrides, else in the objective's facts, else in the config."""
        given = [value_of(override) for override in self.overrides if key_of(override) == key]
        facts = self.summary.get("objective", {})
        known = self.settings | {"seed": self.seed}
        return given[-1] if given else facts.get(key, known.get(key))


def of_the_method(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by dotted keys that can change results, except the seed."""
    settings = flatten(dict(config)).items()
    return {key: value for key, value in settings if key not in NOT_OF_THE_METHOD and USUAL.get(key, ...) != value}


def gather(folders: Iterable[Path], cache: Cache | None = None) -> list[Result]:
    """Every run in these folders, each method and seed once on the same images; a sweep's runs keep their order.

    A run whose files are damaged is left out with a warning; what the `cache` knows is not read again. Raises
    UserError if a folder does not exist, if a sweep's own file is damaged, or if there are no runs.
    """
    found: dict[tuple[str, int, str], Result] = {}
    folders, cache = list(folders), cache or Cache()
    for folder in folders:
        if not os.path.isdir(folder):
            raise UserError(f"{printable(folder)} is not a folder")
        for result in runs_in(folder, cache):
            key = result.identity
            known = found.get(key)
            if known is not None and os.path.realpath(known.run.path) != os.path.realpath(result.run.path):
                both = f"{printable(known.run.path)} and {printable(result.run.path)}"
                warnings.warn(f"the same run twice, counted once: {both}", stacklevel=1)
            if known is None or (known.state != "completed" and result.state == "completed"):
                found[key] = result
    if not found:
        raise UserError(f"no runs in {printable(', '.join(map(str, folders)))}")
    return list(found.values())


def runs_in(folder: Path, cache: Cache) -> Iterator[Result]:
    of_sweeps = set()
    for file in files_in(folder, "sweep.json"):
        sweep = SweepFolder(file.parent)
        for name, job in sweep.read()["jobs"].items():
            run = sweep.run(name)
            of_sweeps.add(run.path)
            summary = summary_of(run, cache)
            if summary is None:
                continue
            ended = sweep.how_it_ended(name)
            if ended["exit_code"] is None:
                ended = {"exit_code": job.get("exit_code"), "error": job.get("error", "")}
            found = Result(
                run,
                state_of(run, summary or None, ended),
                [printable(override) for override in job["overrides"]],
                job["config"],
                summary,
                printable(ended["error"]),
                {printable(metric): score for metric, score in job.get("published", {}).items() if is_number(score)},
                printable(job.get("source", "")),
                cache=cache,
            )
            tuned = job.get("tuned")
            if tuned is not None:
                yield replace(found, overrides=list(map(printable, tuned["untuned"])), tuned=tuned)
            if tuned is None or tuned["factor"] == 1:
                yield found
    for file in files_in(folder, "summary.json"):
        run = RunFolder(file.parent)
        if run.path in of_sweeps:
            continue
        written = summary_of(run, cache)
        if not written:
            continue
        if "config" not in written:
            warnings.warn(
                f"{printable(run.path)} was written by an earlier version, without its config: left out", stacklevel=1
            )
            continue
        overrides = [printable(override) for override in written.get("overrides", [])]
        yield Result(
            run, written["status"], overrides, written["config"], written, written.get("error", ""), cache=cache
        )


def summary_of(run: RunFolder, cache: Cache) -> Record | None:
    """The run's summary, empty without one; None, with a warning, for one that is damaged."""
    try:
        return cache.summary(run)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warnings.warn(f"left out: {one_line(error)}", stacklevel=1)
        return None


def files_in(folder: Path, name: str) -> list[Path]:
    """Every file of this name, at any depth; no link to a folder is followed, and what cannot be read is named.

    Runs that only chose learning rates are left out, unless their folder is the one that is named.
    """

    def warn(error: OSError) -> None:
        warnings.warn(f"left out: {one_line(error)}", stacklevel=1)

    found = []
    for place, inner, names in os.walk(folder, onerror=warn):
        inner[:] = [one for one in inner if one != TUNING]
        found += [Path(place) / name] * (name in names)
    return sorted(found)


def only_sweep(folders: Sequence[Path]) -> Content:
    """What the sweep's own file says, such as its picture or its baseline, if the folders contain exactly one sweep."""
    files = [file for folder in folders for file in files_in(folder, "sweep.json")]
    return SweepFolder(files[0].parent).read() if len(files) == 1 else {"jobs": {}}
