"""What gan-sweep does with its command line: it plans the jobs, runs those that are due, and reports failures."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TextIO

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from gan_cli.commands.train import train
from gan_cli.config.check import find_function, type_problems
from gan_cli.config.overrides import key_of, labels, quoted, value_of
from gan_cli.config.plain import read_plain
from gan_cli.config.read import read_config
from gan_cli.errors import EndError, UserError
from gan_cli.files import adapter
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.sink import Record
from gan_cli.sweep.check import check_jobs
from gan_cli.sweep.command_line import kind_of
from gan_cli.sweep.options import SWEEPING
from gan_cli.sweep.plan import job_name, plan, read_run, run_part
from gan_cli.sweep.processes import Local, device_slots, searched
from gan_cli.sweep.race import plan_text, races, run_races
from gan_cli.sweep.running import Machines, run_all
from gan_cli.sweep.sweep_folder import ENDED, Job, Point, State, SweepFolder
from gan_cli.sweep.tuning import FOLDER as TUNING
from gan_cli.sweep.tuning import known_as, plan_lines, tune, tuned_jobs, tunings
from gan_cli.sweep.watch import Watch
from gan_cli.text import printable

if TYPE_CHECKING:
    from hydra_plugins.gan_cli_sweep import LocalLauncher


def sweep(
    config: DictConfig,
    params: Mapping[str, str],
    arguments: Sequence[str],
    loader: ConfigLoader,
    launcher: Launcher,
    ours: "LocalLauncher | None",
    command: Sequence[str],
) -> None:
    """Runs every job of a grid sweep with any launcher; `ours` is the same, if it is one of this package.

    `command` is the command line as it was typed.

    Raises EndError if some job has no result, after all jobs have ended.
    """
    options = read_sweep(config)
    folder = SweepFolder(shortest(options["sweep_dir"]))
    own = [override for override in arguments if key_of(override) not in SWEEPING]
    parser = OverridesParser.create(config_loader=loader)
    study = options["study"] or {}
    if isinstance(study.get("picture"), str):
        find_function("picture", study["picture"])
    planned = plan(study, params, own, lambda point: loader.load_sweep_config(config, point), parser)
    jobs = folder.named(planned)
    states = folder.states(jobs)
    due = [job for job in jobs if states[job.name] not in ENDED]
    raced = races(jobs, options["race_factor"]) if options["race"] else []

    shared = set.intersection(*(set(job.point) for job in jobs))

    def job_of(point: Point) -> Job:
        run = read_run(loader.load_sweep_config(config, point))
        return Job(job_name(point, labels(override for override in point if override not in shared), run), point, run)

    tuned, tuning_folder = [], SweepFolder(folder.path / TUNING)
    if options["tuned"]:
        rates, seeds = options["tuning_rates"], options["tuning_seeds"]
        tuned = known_as(tunings(jobs, rates, seeds, job_of, options["race_factor"]), tuning_folder)
    local = ours is not None and ours.local
    if local:
        device_slots(config.device, options["slots_per_device"], len(due))  # refuses a device that is not there
    if ours is not None and not options["dry_run"]:
        ours.machines(folder)  # refuses those that cannot be used
    check_jobs(due, here=local)
    print_jobs(jobs, states, folder.path, sys.stdout if options["dry_run"] else sys.stderr)
    if raced or tuned:
        lines = [*plan_lines(tuned), *plan_text(raced or [one.race for one in tuned])]
        print(*lines, sep="\n", file=sys.stdout if options["dry_run"] else sys.stderr)
    if options["dry_run"]:
        return

    def launch(jobs: Sequence[Job], place: SweepFolder = folder) -> None:
        if ours is None:
            for job in jobs:
                place.begin(job.name)
        launcher.launch([[*job.point, *folder_overrides(job, place)] for job in jobs], 0)

    def to_rung(jobs: Sequence[Job], place: SweepFolder = folder) -> None:
        launch(jobs, place)
        failed = [name for name, state in place.states(jobs).items() if state == "failed"]
        if failed and options["fail_fast"]:
            raise EndError(f"stopped, as fail_fast=true says: {', '.join(failed)} failed; see {place.logs}")

    shares = ours is not None and not (raced or tuned)
    with folder.entered(shares=shares):
        named: Any = config.hydra.runtime.choices.get("study")
        facts = {"study": named, "picture": study.get("picture"), "claim": study.get("claim"), "shares": shares}
        facts |= {"command": list(command)} | compared(options)
        folder.add(due, kind=kind_of(arguments), **facts)
        folder.quote(jobs)
        if raced:
            left = {job.name for race in run_races(raced, folder, to_rung, say) for job in race.jobs}
            due = [job for job in jobs if job.name in left and folder.state(job) not in ENDED]
        if tuned:
            with tuning_folder.entered(shares=False):
                chosen = tune(tuned, tuning_folder, lambda jobs: to_rung(jobs, tuning_folder), say)
            best = folder.named(tuned_jobs(tuned, chosen, job_of))
            jobs = list({job.name: job for job in [*jobs, *best]}.values())
            order = list(dict.fromkeys(job.config["seed"] for job in jobs))
            jobs.sort(key=lambda job: order.index(job.config["seed"]))
            due = [job for job in jobs if folder.state(job) not in ENDED]
            folder.add(due)
            folder.quote(jobs)
        if due:
            launch(due)
    broken = {name: state for name, state in folder.states(jobs).items() if state not in ("completed", "stopped")}
    if broken:
        listed = ", ".join(f"{name} ({state})" for name, state in broken.items())
        raise EndError(f"{len(broken)} of {len(jobs)} jobs did not complete: {listed}; see {folder.logs}")


def compared(options: Mapping[str, Any]) -> dict[str, Any]:
    """How the table compares the methods: as given, else as the study says."""
    study = options["study"] or {}
    given = {key: study.get(key) if options.get(key) is None else options[key] for key in ("margin", "paired")}
    problems = type_problems(given, {"margin": float | None, "paired": bool | None})
    if not problems and given["margin"] is not None and not given["margin"] > 0:
        problems = [f"margin={given['margin']} must be above 0"]
    if problems:
        raise UserError("; ".join(problems))
    return {"baseline": options.get("baseline")} | given


def folder_overrides(job: Job, folder: SweepFolder) -> list[str]:
    path = folder.path.absolute()
    pause = [] if job.pause_at is None else [f"pause_at={job.pause_at}"]
    return [f"sweep_dir={quoted(path)}", f"run_dir={quoted(path / job.name)}", *pause]


def say(line: str) -> None:
    print(line, file=sys.stderr)


def shortest(path: str) -> Path:
    """The path relative to the current folder if it is inside, else absolute."""
    absolute, here = Path(path).absolute(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def print_jobs(jobs: Sequence[Job], states: Mapping[str, State], path: Path, stream: TextIO) -> None:
    """Prints the jobs, and the state of each."""
    shared = set.intersection(*(set(job.point) for job in jobs))
    common = " ".join(override for override in jobs[0].point if override in shared)
    print(f"{len(jobs)} jobs in {path}" + (f", all with {common}" if common else ""), file=stream)
    for number, job in enumerate(jobs, 1):
        state = states[job.name]
        own = " ".join(override for override in job.point if override not in shared)
        print(f"{number:4}  {own}" + (f"  ({state})" if state != "waiting" else ""), file=stream)


def launch_jobs(
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    loader: ConfigLoader,
    machines_of: Callable[[SweepFolder], Machines | None],
    command: Sequence[str],
) -> list[JobReturn]:
    """Runs jobs of any sweeper as processes on these machines, or here; `command` is the sweep's command line."""
    options = read_sweep(config)
    folder = SweepFolder(shortest(place_of(job_overrides) or options["sweep_dir"]))
    searching = place_of(job_overrides) is None
    with folder.entered(shares=not searching and bool(folder.read().get("shares"))):
        known = known_jobs(job_overrides, folder)
        trials = [[job] for job in known]
        if not known:
            trials = new_trials(job_overrides, options["seeds"], folder, config, loader)
            jobs = [job for trial in trials for job in trial]
            typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)  # a value may be a secret
            folder.add(jobs, kind=kind_of(typed), shares=False, command=list(command), **compared(options))
        jobs = list({job.name: job for trial in trials for job in trial}.values())  # a search may repeat itself
        states = folder.states(jobs)
        due = [job for job in jobs if states[job.name] not in ENDED]
        machines = machines_of(folder) or Local(
            folder, device_slots(config.device, options["slots_per_device"], len(due)), searched(config)
        )
        watch = Watch(due, folder, machines.most)
        watch.note(f"{len(due)} to run, {machines.described}")
        run_all(due, folder, machines, watch, fail_fast=options["fail_fast"])
        return [trial_return(trial, folder) for trial in trials]


def place_of(job_overrides: Sequence[Sequence[str]]) -> str | None:
    """The folder that jobs of a grid are to be in; None for a search."""
    given = {key_of(override): override for overrides in job_overrides[:1] for override in overrides}
    if "run_dir" not in given:
        return None
    return str(OverridesParser.create().parse_override(given["sweep_dir"]).value())


def known_jobs(job_overrides: Sequence[Sequence[str]], folder: SweepFolder) -> list[Job]:
    """The jobs of a grid sweep, as recorded in sweep.json under the names of their run_dir; none for a search."""
    given = [{key_of(override): value_of(override) for override in overrides} for overrides in job_overrides]
    names = [Path(own["run_dir"].strip("'")).name for own in given if "run_dir" in own]
    known = folder.read()["jobs"] if names else {}
    return [
        Job(name, known[name]["overrides"], dict(known[name]["config"]), pause_at=int(own["pause_at"]) or None)
        for name, own in zip(names, [{"pause_at": "0"} | own for own in given], strict=False)
    ]


def new_trials(
    job_overrides: Sequence[Sequence[str]],
    seeds: list[int] | None,
    folder: SweepFolder,
    config: DictConfig,
    loader: ConfigLoader,
) -> list[list[Job]]:
    """The trials of a search, which chooses them while it runs: each is a job for every seed."""
    trials = []
    for overrides in job_overrides:
        chosen = []
        for own in with_seeds(overrides, seeds):
            point = [override for override in own if key_of(override) not in SWEEPING]
            run = read_run(loader.load_sweep_config(config, own))
            chosen.append(Job(job_name(point, labels(point), run), point, run))
        trials.append(folder.named(chosen))
    return trials


def with_seeds(overrides: Sequence[str], seeds: list[int] | None) -> list[list[str]]:
    """The overrides once for each seed; as they are without any."""
    if seeds is None:
        return [list(overrides)]
    others = [override for override in overrides if key_of(override) != "seed"]
    return [[*others, f"seed={seed}"] for seed in seeds]


def trial_return(jobs: Sequence[Job], folder: SweepFolder) -> JobReturn:
    """For a search: the mean of the jobs' leading scores, as in the table, or why there is none."""
    states = folder.states(jobs)
    done = JobReturn(overrides=jobs[0].point, working_dir=str(folder.path / jobs[0].name), task_name="gan-train")
    broken = next((name for name, state in states.items() if state != "completed"), None)
    done.status = JobStatus.COMPLETED if broken is None else JobStatus.FAILED
    done.return_value = (
        mean_score([folder.run(job.name) for job in jobs])
        if broken is None
        else EndError(f"{broken} is {states[broken]}: see {printable(folder.log(broken))}")
    )
    return done


def mean_score(runs: Sequence[RunFolder]) -> float | None:
    """The mean of the runs' leading scores of the last evaluation; None unless all have one."""
    scores = [leading_score(run.summary()) for run in runs]
    known = [score for score in scores if score is not None]
    return fmean(known) if len(known) == len(scores) else None


def leading_score(summary: Record | None) -> float | None:
    metrics = (summary or {}).get("metrics", {})
    return metrics.get("last", {}).get(metrics.get("leading"))


def run_job(composed: DictConfig, given: Sequence[str]) -> float | None:
    """One job in a process of another launcher; of a search one trial, which runs every seed, one after the other."""
    runs, seeds = [], read_sweep(composed)["seeds"]
    for seed, own in zip(seeds or [composed.seed], with_seeds(given, seeds), strict=True):
        overrides = [override for override in own if key_of(override) not in SWEEPING]
        run = run_part(composed)
        run.seed = seed
        config, options = read_config(run)
        if options["run_dir"] is None:
            options["run_dir"] = str(Path(composed.sweep_dir) / job_name(overrides, labels(overrides), read_run(run)))
        train(config, options, overrides, OmegaConf.to_yaml(run), "")
        runs.append(RunFolder(Path(options["run_dir"])))
    return mean_score(runs)


def read_sweep(config: DictConfig) -> dict[str, Any]:
    """The options of the sweep; raises UserError that names every problem at once."""
    own = OmegaConf.masked_copy(config, [key for key in SWEEPING if key in config])
    options = {"study": None} | read_plain(own, {str(key): SWEEPING[str(key)] for key in own}, "")
    compared(options)
    check_picture((options["study"] or {}).get("picture"))
    check_claim((options["study"] or {}).get("claim"))
    if options["slots_per_device"] is not None and options["slots_per_device"] < 1:
        raise UserError(f"slots_per_device={options['slots_per_device']} must be at least 1")
    return options


def check_picture(picture: Any) -> None:
    """Raises UserError for a study's picture that could not be drawn."""
    from gan_cli.sweep.formats import Picture, is_dotted

    if isinstance(picture, str):
        if not is_dotted(picture):
            raise UserError(
                f"picture: {printable(picture)} in the study names no function, as in picture: mine.own.draw"
            )
        return
    check_form("picture", picture, Picture | None, "picture: {x: objective}")


def check_claim(claim: Any) -> None:
    """Raises UserError for a study's claim that could not be judged."""
    from gan_cli.sweep.formats import Claim

    rule = "{rule: value, says: all modes, reading: last.modes_covered, expected: [7.5, 8.5]}"
    check_form("claim", claim, Claim | None, f"claim: {{says: ..., source: ..., rules: [{rule}]}}")


def check_form(key: str, value: Any, hint: Any, example: str) -> None:
    """Raises UserError for a key of a study that is not as it has to be."""
    from pydantic import ValidationError

    try:
        adapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (key, *first["loc"])))
        raise UserError(printable(f"{place} in the study: {first['msg']}; as in {example}")) from error
