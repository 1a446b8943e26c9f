"""Learning rates tuned for each method alike: a race of a few, by seeds of its own, before the runs of the table."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gan_cli.config.nodes import Config, flatten
from gan_cli.config.overrides import key_of
from gan_cli.errors import UserError
from gan_cli.sweep.race import Launch, Race, Setting, measure, run_races, rungs, setting_score, settings_of, survivors
from gan_cli.sweep.sweep_folder import ENDED, Job, Point, SweepFolder

if TYPE_CHECKING:
    from gan_cli.sweep.formats import Tuned

FOLDER = "tuning_races"  # in the sweep's folder: no table of the sweep looks into it
FINALISTS = 2  # they train to the last step, where the better one is chosen
SCALED = ("lr", "lr.start", "lr.end")  # of each player's optimizer: a number, or the ends of a schedule

JobOf = Callable[[Point], Job]  # composes a point


@dataclass(frozen=True)
class Tuning:
    """A method's race of learning rates: its jobs with the rates that it has, and a setting for each factor."""

    method: Setting
    factors: list[float]
    seeds: list[int]
    race: Race


def tunings(
    jobs: Sequence[Job], factors: Sequence[float], seeds: Sequence[int], job_of: JobOf, factor: int
) -> list[Tuning]:
    """One for each method; all have as many factors, seeds and steps, so that no method is tuned more than another.

    Raises UserError for factors or seeds that cannot tune, and for a method without a learning rate.
    """
    found = list(dict.fromkeys(map(float, factors)))
    if 1 not in found or len(found) < 2 or not all(math.isfinite(one) and one > 0 for one in found):
        raise UserError(
            f"tuning_rates={list(factors)} must be positive factors of a method's own learning rates: 1 and others"
        )
    own = list(dict.fromkeys(seeds))
    both = sorted({job.config["seed"] for job in jobs} & set(own))
    if both or not own:
        raise UserError(
            f"tuning_seeds={list(seeds)} must be seeds that the table does not have"
            + (f", as {', '.join(map(str, both))} are: give others" if both else "")
        )
    return [tuning(method, found, own, job_of, factor) for method in settings_of(jobs)]


def tuning(method: Setting, factors: list[float], seeds: list[int], job_of: JobOf, factor: int) -> Tuning:
    base = method.jobs[0]
    settings = [
        Setting(f"{method.name} {scale:g}x", [job_of(scaled(base, scale, seed)) for seed in seeds]) for scale in factors
    ]
    steps, every = base.config["steps"], base.config["evaluate_every"]
    return Tuning(
        method,
        factors,
        seeds,
        Race(settings, rungs(len(settings), steps, every, factor=factor, least=FINALISTS), steps),
    )


def known_as(found: Sequence[Tuning], folder: SweepFolder) -> list[Tuning]:
    """The same with the names that the same configs already have in this folder."""
    jobs = folder.named([job for one in found for job in one.race.jobs])
    known = {job.name.rsplit("-", 1)[-1]: job for job in jobs}
    return [
        replace(one, race=replace(one.race, settings=[renamed(setting, known) for setting in one.race.settings]))
        for one in found
    ]


def renamed(setting: Setting, known: Mapping[str, Job]) -> Setting:
    return replace(setting, jobs=[known[job.name.rsplit("-", 1)[-1]] for job in setting.jobs])


def scaled(job: Job, factor: float, seed: int) -> Point:
    """The job's overrides with both players' learning rates multiplied, and another seed."""
    rates = {} if factor == 1 else {key: f"{factor * rate:.6g}" for key, rate in learning_rates(job.config).items()}
    kept = [override for override in job.point if key_of(override) not in {"seed", *rates}]
    return [*kept, *(f"{key}={rate}" for key, rate in rates.items()), f"seed={seed}"]


def learning_rates(config: Config) -> dict[str, float]:
    """The numbers that scale with the learning rate of each player, by their keys; raises UserError without any."""
    found: dict[str, float] = {}
    for place in (key for key in config if key.endswith("_optimizer")):
        numbers = flatten(config[place])
        found |= {f"{place}.{key}": float(numbers[key]) for key in SCALED if isinstance(numbers.get(key), int | float)}
    if not found:
        raise UserError("tuned=true scales learning rates, and a method has none: remove tuned=true")
    return found


def tune(found: Sequence[Tuning], folder: SweepFolder, launch: Launch, say: Callable[[str], None]) -> list[float]:
    """Runs the races, and the finalists to the end; returns the factor of each method.

    A race of which nothing is left chooses 1. Raises EndError as `run_races`.
    """
    folder.add(job for one in found for job in one.race.jobs if folder.state(job) not in ENDED)
    left = run_races([one.race for one in found], folder, launch, say)
    due = [job for race in left for job in race.jobs if folder.state(job) not in ENDED]
    if due:
        say(f"finalists: {len(due)} runs to their last step")
        launch(due)
    chosen = [best(one, race, folder) for one, race in zip(found, left, strict=True)]
    for one, scale in zip(found, chosen, strict=True):
        say(f"  chosen  {one.method.name}  {scale:g}x")
    return chosen


def best(found: Tuning, left: Race, folder: SweepFolder) -> float:
    """The factor with the best score at the last step; of equal ones that nearest to 1."""
    factors = {setting.name: scale for setting, scale in zip(found.race.settings, found.factors, strict=True)}
    told = measure(left.jobs, folder)
    if told is None:
        return 1.0
    scores = [setting_score(setting, left.steps, told, folder) for setting in left.settings]
    places = survivors(scores, 1, told.direction)
    alike = [factors[left.settings[place].name] for place in places]
    return min(alike, key=lambda scale: (abs(math.log(scale)), scale), default=1.0)


def tuned_jobs(found: Sequence[Tuning], chosen: Sequence[float], job_of: JobOf) -> list[Job]:
    """The jobs of the table with the chosen learning rates, each with what the table says of its tuning."""
    jobs = []
    for one, scale in zip(found, chosen, strict=True):
        for job in one.method.jobs:
            mark: Tuned = {
                "factor": scale,
                "untuned": job.point,
                "factors": one.factors,
                "seeds": one.seeds,
                "steps": one.race.cost(),
            }
            jobs.append(replace(job_of(scaled(job, scale, job.config["seed"])), tuned=mark))
    return jobs


def plan_lines(found: Sequence[Tuning]) -> list[str]:
    """What is trained before the runs of the table, a line; none if nothing is tuned."""
    if not found:
        return []
    factors, seeds = found[0].factors, found[0].seeds
    rates = ", ".join(f"{scale:g}" for scale in factors)
    return [
        f"before these, for each of {len(found)} methods: learning rates times {rates} with seeds "
        f"{', '.join(map(str, seeds))}; the best has the seeds above, too"
    ]
