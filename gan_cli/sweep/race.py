"""Successive halving: at rungs of their steps, the worst settings of a race are stopped.

Jamieson & Talwalkar (2016), arXiv:1502.07943; the factor is eta of Hyperband, Li et al. (2018), arXiv:1603.06560.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, TypeGuard

from gan_cli.config.nodes import Config
from gan_cli.config.overrides import key_of, labels
from gan_cli.errors import EndError, UserError
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.sink import Record
from gan_cli.sweep.sweep_folder import ENDED, Job, SweepFolder
from gan_cli.text import printable

if TYPE_CHECKING:  # it imports torch
    from gan_cli.metrics.metrics import Direction

Launch = Callable[[Sequence[Job]], None]  # returns when all of these jobs have ended or paused
MEASURED = (
    "dataset",
    "num_eval_images",
    "evaluation_seed",
    "num_evaluation_seeds",
)  # scores compare only where these are equal


@dataclass(frozen=True)
class Rung:
    """After `step` steps the best `keep` settings go on."""

    step: int
    keep: int


@dataclass(frozen=True)
class Setting:
    """Jobs that differ only in the seed."""

    name: str
    jobs: list[Job]


@dataclass(frozen=True)
class Race:
    """Settings whose scores compare, and the rungs at which the worst are stopped."""

    settings: list[Setting]
    rungs: list[Rung]
    steps: int

    @property
    def jobs(self) -> list[Job]:
        return [job for setting in self.settings for job in setting.jobs]

    def cost(self) -> int:
        """The steps of all its jobs, if none is lost and no two scores are equal."""
        total, before, going = 0, 0, len(self.settings)
        for rung in [*self.rungs, Rung(self.steps, 0)]:
            total += going * (rung.step - before)
            before, going = rung.step, rung.keep
        return total * self.num_seeds

    @property
    def full_cost(self) -> int:
        return self.steps * len(self.settings) * self.num_seeds

    @property
    def num_seeds(self) -> int:
        return max(len(setting.jobs) for setting in self.settings)


@dataclass(frozen=True)
class Measure:
    """What decides a race."""

    metric: str
    direction: "Direction"


def rungs(count: int, steps: int, every: int, *, factor: int, least: int = 1) -> list[Rung]:
    """The rungs of `count` settings that are evaluated `every` so many steps: one in `factor` goes on at each.

    They are at steps/factor, steps/factor**2, ..., each at the next evaluation, until `least` settings are left; fewer
    if evaluations are further apart than that.
    """
    kept = []
    while count > least:
        count = max(least, count // factor)
        kept.append(count)
    wanted = (steps / factor**power for power in range(len(kept), 0, -1))
    at = [every * math.ceil(step / every) for step in wanted] if every else []
    places = sorted({step for step in at if step < steps})
    return [Rung(step, keep) for step, keep in zip(places, kept, strict=False)]


def survivors(scores: Sequence[float | None], keep: int, direction: "Direction") -> list[int]:
    """The places of the best `keep` scores, and of those that equal the last of them; a lost setting (None) never."""
    known = sorted(score for score in scores if is_score(score))
    if not known:
        return []
    ordered = known if direction == "lower" else known[::-1]
    last = ordered[min(keep, len(ordered)) - 1]
    return [
        place
        for place, score in enumerate(scores)
        if is_score(score) and (score <= last if direction == "lower" else score >= last)
    ]


def is_score(score: float | None) -> TypeGuard[float]:
    return score is not None and math.isfinite(score)


def races(jobs: Sequence[Job], factor: int) -> list[Race]:
    """One race for each set of images, of all its settings; seeds are not raced.

    Raises UserError for jobs that cannot be raced.
    """
    if factor < 2:
        raise UserError(f"race_factor={factor} must be at least 2")
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(json.dumps([job.config.get(key) for key in MEASURED], sort_keys=True), []).append(job)
    return [race_of(group, factor, 1) for group in groups.values()]


def race_of(jobs: Sequence[Job], factor: int, least: int) -> Race:
    """The race of these jobs until `least` settings are left; raises UserError for jobs that cannot be raced."""
    settings = settings_of(jobs)
    for key in ("steps", "evaluate_every"):
        values = sorted({job.config[key] for job in jobs})
        if len(values) > 1:
            raise UserError(f"a race needs the same {key} in all its jobs, not {', '.join(map(str, values))}: give one")
    steps, every = jobs[0].config["steps"], jobs[0].config["evaluate_every"]
    if len(settings) <= least:
        raise UserError("a race needs settings to choose from, besides seeds: sweep a key, or remove race=true")
    found = rungs(len(settings), steps, every, factor=factor, least=least)
    if not found:
        raise UserError(
            f"a race compares scores before the last step, and evaluate_every={every} gives none in steps={steps}: "
            f"give evaluate_every={max(1, steps // factor)} or less"
        )
    return Race(settings, found, steps)


def settings_of(jobs: Sequence[Job]) -> list[Setting]:
    """The jobs by all of their config but the seed, in their order."""
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(without_seed(job.config), []).append(job)
    points = [[override for override in own[0].point if key_of(override) != "seed"] for own in found.values()]
    shared = set.intersection(*map(set, points))
    told = labels(override for point in points for override in point if override not in shared)
    names = [" ".join(told[override] for override in point if override in told) for point in points]
    return [Setting(name or own[0].name, own) for name, own in zip(names, found.values(), strict=True)]


def without_seed(config: Config) -> str:
    return json.dumps({key: value for key, value in config.items() if key != "seed"}, sort_keys=True)


def run_races(races: Sequence[Race], folder: SweepFolder, launch: Launch, say: Callable[[str], None]) -> list[Race]:
    """Runs the settings of each race to its rungs, stops the worst, and returns the races with those that are left.

    Each decision follows from the scores on disk alone, so that a race that is killed and continued decides the same.

    Raises EndError if there are no scores, or if a job was interrupted before its rung.
    """
    going = list(races)
    for place in range(max(len(race.rungs) for race in races)):
        here = [
            (number, race.rungs[place])
            for number, race in enumerate(going)
            if race.settings and place < len(race.rungs)
        ]
        due = [job for number, rung in here for job in due_jobs(going[number], rung.step, folder)]
        steps = ", ".join(map(str, dict.fromkeys(rung.step for _, rung in here)))
        total = ", ".join(map(str, dict.fromkeys(going[number].steps for number, _ in here)))
        count = sum(len(going[number].settings) for number, _ in here)
        say(f"rung {place + 1}: {count} settings to step {steps} of {total}")
        if due:
            launch(due)
        for number, rung in here:
            going[number] = decided(going[number], rung, folder, say)
    return going


def due_jobs(race: Race, step: int, folder: SweepFolder) -> list[Job]:
    """The jobs that have not come to this rung, told to pause there.

    All that have not ended if no summary says what is measured: then one has to be written.
    """
    states = folder.states(race.jobs)
    known = measure(race.jobs, folder) is not None
    return [
        replace(job, pause_at=step)
        for job in race.jobs
        if states[job.name] not in ENDED and not (known and evaluation(folder.run(job.name), step))
    ]


def decided(race: Race, rung: Rung, folder: SweepFolder, say: Callable[[str], None]) -> Race:
    """The race without the settings that are stopped at the rung, which is recorded; raises EndError as `run_races`."""
    states = folder.states(race.jobs)
    reached = {job.name for job in race.jobs if evaluation(folder.run(job.name), rung.step)}
    short = [
        name
        for name, state in states.items()
        if name not in reached
        and state not in (*ENDED, "failed")
        and (folder.run(name).summary() or {}).get("step", 0) < rung.step
    ]
    if short:
        raise EndError(f"{len(short)} jobs have not come to the rung at step {rung.step}: the same command continues")
    found = measure(race.jobs, folder)
    if found is None:
        if set(states.values()) == {"failed"}:
            return Race([], race.rungs, race.steps)
        raise EndError("a race is decided by scores, and these jobs have none: see the warning in their logs")
    scores = [setting_score(setting, rung.step, found, folder) for setting in race.settings]
    left = survivors(scores, rung.keep, found.direction)
    for place, setting in enumerate(race.settings):
        score = scores[place]
        shown = f"{found.metric} {score:.4g}" if score is not None else "lost"
        say(f"  {'goes on' if place in left else 'stopped'}  {printable(setting.name)}  {shown}")
        for job in setting.jobs:
            if place not in left and states[job.name] not in ENDED and job.name in reached:
                folder.stop(job, rung.step)
    return Race([race.settings[place] for place in left], race.rungs, race.steps)


def setting_score(setting: Setting, step: int, found: Measure, folder: SweepFolder) -> float | None:
    """The mean over seeds at this step; None if one of them has no score, or was found to be lost before."""
    scores = [score_in(evaluation(folder.run(job.name), step), found.metric) for job in setting.jobs]
    known = [score for score in scores if score is not None]
    return fmean(known) if len(known) == len(scores) else None


def score_in(record: Record, metric: str) -> float | None:
    score = None if "lost" in record else record.get("metrics", {}).get(metric)
    return score if is_score(score) else None


def evaluation(run: RunFolder, step: int) -> Record:
    """The run's record of scores at this step; empty without one."""
    return next((record for record in run.records() if record["step"] == step and "metrics" in record), {})


def measure(jobs: Sequence[Job], folder: SweepFolder) -> Measure | None:
    """The leading metric and its direction, as the summaries say; None if there is none.

    Raises EndError if they differ.
    """
    told: dict[Measure, None] = {}
    for job in jobs:
        metrics = (folder.run(job.name).summary() or {}).get("metrics", {})
        leading = metrics.get("leading")
        if leading is not None and leading in metrics.get("directions", {}):
            told[Measure(leading, metrics["directions"][leading])] = None
    if len(told) > 1:
        names = ", ".join(printable(one.metric) for one in told)
        raise EndError(f"the settings of a race need the same leading metric, not {names}")
    return next(iter(told), None)


def plan_text(races: Sequence[Race]) -> list[str]:
    """The rungs of the races, and what they cost beside the full grid; races of one size together."""
    lines = []
    alike: dict[tuple[int, int, int], list[Race]] = {}
    for race in races:
        alike.setdefault((len(race.settings), race.num_seeds, race.steps), []).append(race)
    for same in alike.values():
        race, named = same[0], f"{len(same)} races, each" if len(same) > 1 else "race"
        lines.append(f"{named}: {len(race.settings)} settings with {race.num_seeds} seeds each, {race.steps} steps")
        going = len(race.settings)
        for rung in race.rungs:
            lines.append(f"      to step {rung.step}: {going} settings, of which {rung.keep} stay")
            going = rung.keep
        lines.append(f"      to step {race.steps}: {going}")
    cost, full = sum(race.cost() for race in races), sum(race.full_cost for race in races)
    return [*lines, f"{cost:,} steps in place of the {full:,} of the whole grid ({cost / full:.0%})"]
