"""What gan-verify does with one run: each number that its folder claims is computed again, as far as it is asked."""

import fcntl
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_cli.config.nodes import flatten
from gan_cli.engine import Engine, choose_engine
from gan_cli.errors import DifferenceError, UserError
from gan_cli.runs import checkpoint
from gan_cli.runs.checkpoint import Checkpoint, name_of
from gan_cli.runs.comparison import Margin, compare_values, numbers
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.progress import showing_work
from gan_cli.runs.replay import Rebuilt, Replay, kind_of, own_threads, rebuilt
from gan_cli.runs.segments import Tell, choice, replay_all, same, segments_of
from gan_cli.runs.sessions import cpu_name, git, hardware, now
from gan_cli.runs.stated import Stated, read_stated, why_unscored
from gan_cli.runs.summary import best_record, versions
from gan_cli.runs.trained import trusted_config
from gan_cli.runs.verdict import Proved, digests, withdraw_verdict, write_verdict
from gan_cli.text import printable

OF_THE_SUMMARY = ("step", "warnings", "config", "metrics", "objective", "protocol", "parameters", "overrides")
OF_ITS_COST = ("seconds", "images_seen", "images_per_second", "scoring_seconds", "sampling")
IN_THE_LAST_BITS = ("torch", "torchvision", "numpy", "torch-fidelity")  # versions that they may depend on
MOST_TOLD = 1e9  # of a tolerance


def verify_run(path: Path, options: Mapping[str, Any], seed: int, tell: Tell) -> Proved:
    """Computes the run's numbers again, and writes the verdict, if the folder is this user's.

    Raises DifferenceError for the first number that differs, and UserError for a run that cannot be computed here.
    """
    folder = RunFolder(path)
    if is_being_written(folder):
        raise UserError(f"{path} is being written by another process: wait for it")
    before = digests(folder)
    try:
        stated = read_stated(folder)
        proved = prove(stated, options, seed, tell)
    except DifferenceError:
        withdraw_verdict(folder)
        raise
    if digests(folder) != before:
        raise UserError(f"{path} was changed while it was verified: repeat the command")
    content = {
        "verdict": "verified",
        "date": now(),
        "hardware": hardware(choose(options["device"], stated.sessions)),
        "versions": versions(),
        "git": git(Path.cwd()),
        "proved": proved,
        "files": before,
    }
    if not write_verdict(folder, content):
        tell("the folder is not yours to write: no verified.json")
    return proved


def is_being_written(folder: RunFolder) -> bool:
    """Whether a process holds the run's lock; nothing is created."""
    try:
        with folder.lock_file.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def choose(device: str, sessions: Sequence[Mapping[str, Any]]) -> Engine:
    """`auto` is a CPU if the run was trained on one."""
    on_cpu = bool(sessions) and all(session["hardware"]["gpu"] is None for session in sessions)
    return choose_engine("cpu" if device == "auto" and on_cpu else device)


def prove(stated: Stated, options: Mapping[str, Any], seed: int, tell: Tell) -> Proved:
    """Everything that `options` ask for, the cheapest first."""
    together = max((session["hardware"].get("processes", 1) for session in stated.sessions), default=1)
    if together > 1:
        raise UserError(
            f"{stated.folder.path} was trained by {together} processes together, and one cannot repeat their draws: "
            f"measure its scores again with gan-eval {stated.folder.path}"
        )
    newest, engine = stated.newest, choose(options["device"], stated.sessions)
    config = trusted_config(newest, options["trust"], options["dataset"]["root"])
    unlike = differences_here(stated, engine)
    margin = Margin(exact=not unlike)
    tell_of_run(stated, unlike, tell)
    try:
        with own_threads(engine), showing_work():
            again = rebuilt(
                stated.folder,
                newest,
                config,
                engine,
                initial_weights(newest, options["init_from"]),
                stated.records,
                stated.sessions,
                why_unscored(stated),
            )
            check_summary(stated, again, margin)
            tell("summary: what the records, the data and the config give" if stated.summary else "no summary.json")
            scored = [
                step for step in to_score(stated, again, options["full"]) if check_scores(step, stated, again, margin)
            ]
            if scored:
                tell(f"scores of {listed_steps(scored)}: measured again, {same(margin)}")
            segments = segments_of(stated, again)
            chosen = choice(segments, options, seed)
            if segments and not segments[0].known:
                tell(
                    f"steps 0 to {segments[0].last} cannot be replayed, as they began with another run's weights: add "
                    "init_from=<its folder>"
                )
            most_steps = math.inf if options["full"] else float(options["spot_steps"])
            replayed = replay_all(chosen, segments, stated, again, margin, most_steps, tell)
    except DifferenceError as error:
        raise DifferenceError("; ".join([str(error), *unlike])) from error
    return Proved(
        exact=margin.found_exact,
        tolerance=min(margin.largest, MOST_TOLD),
        replayed=sum(replayed.values()),
        steps=segments[-1].last if segments else 0,
        segments=sum(replayed[segment.first] == segment.last - segment.first for segment in chosen),
        of_segments=len(segments),
        scored=scored,
        seed=seed,
    )


def tell_of_run(stated: Stated, unlike: Sequence[str], tell: Tell) -> None:
    config = stated.newest.config
    tell(f"run: {stated.folder.path}, {stated.status} at step {stated.newest.step}, seed {config.get('seed')}")
    made = (stated.summary or {}).get("versions", {})
    threads = dict.fromkeys(str(session["hardware"]["threads"]) for session in stated.sessions)
    machine = dict.fromkeys(session["hardware"]["gpu"] or session["hardware"]["cpu"] for session in stated.sessions)
    said = ", ".join(f"{name} {made[name]}" for name in ("gan_cli", "torch") if name in made)
    where = ", ".join(machine) or "machine unknown"
    tell(f"trained with: {said or 'versions unknown'}; {where}; threads: {', '.join(threads) or 'unknown'}")
    known = "the same" if stated.sessions else "its machine is not recorded"
    tell(f"here: {'; '.join(unlike)}: compared within rounding" if unlike else f"here: {known}: compared bit by bit")
    for key in ("compile", "capture"):
        if (value := config.get("engine", {}).get(key)) is True:
            tell(f"engine.{key}={str(value).lower()}: its steps are computed in the same way")
    if stated.status in ("interrupted", "failed", "unfinished"):
        tell(f"{stated.status}: what is there is compared, up to step {stated.last_step}")


def differences_here(stated: Stated, engine: Engine) -> list[str]:
    """What the last bits may depend on, where it is not as it was."""
    here = {"cpu": cpu_name(), "gpu": engine.gpu_name()}
    unlike = []
    for name, present in here.items():
        there = dict.fromkeys(session["hardware"][name] for session in stated.sessions)
        if any(one != present for one in there):
            unlike.append(f"trained on {', '.join(str(one or 'a CPU') for one in there)}, here {present or 'a CPU'}")
    if engine.gpu_name() is not None and not unlike:
        unlike.append("a GPU, whose last bits are not promised")
    made, present_versions = (stated.summary or {}).get("versions", {}), versions()
    for name in ("gan_cli", *IN_THE_LAST_BITS):
        if name in made and made[name] != present_versions[name]:
            unlike.append(f"{name} {made[name]} there, {present_versions[name]} here")
    return [printable(one) for one in unlike]


def initial_weights(newest: Checkpoint, given: str | None) -> Checkpoint | None:
    """The weights that the run began with, if they are another run's and are given; raises UserError for others."""
    wanted = newest.config.get("init_from")
    if given is None:
        return None
    if not isinstance(wanted, dict):
        raise UserError("the run did not begin with another's weights: remove init_from=")
    found = checkpoint.find(Path(given), "latest", "init_from")
    if found.state["sha256"] != wanted.get("sha256"):
        raise UserError(
            f"init_from={given} does not hold the weights that the run began with, of step {wanted.get('step')}"
        )
    return found


def check_summary(stated: Stated, again: Rebuilt, margin: Margin) -> None:
    """Compares summary.json with what the records, the data, and the config give; times and memory are measurements."""
    summary, newest = stated.summary, stated.newest
    if summary is None:
        return
    replay = again.at(newest)
    for record in stated.records:
        if record["step"] > newest.step:
            replay.health.see(record)
    completed = stated.status == "completed"
    replay.step = newest.step if completed else max(newest.step, summary["step"])
    replay.seconds = newest.seconds if completed else summary["cost"].get("seconds", 0.0)
    if again.scorer is not None:
        replay.use_threads()
        replay.floor = again.scorer.floor()
    given = replay.summary(stated.status, summary.get("error", ""), list(stated.records))
    given = json.loads(json.dumps(given))
    check_status(stated, replay)
    for key in OF_THE_SUMMARY:
        if key in summary:
            compare_values("summary.json", flatten(summary[key], key), flatten(given[key], key), margin)
    costs = {key for key in summary["cost"] if key in OF_ITS_COST or key.endswith("_updates")}
    theirs, ours = ({key: cost[key] for key in costs if key in cost} for cost in (summary["cost"], given["cost"]))
    compare_values("summary.json", flatten(theirs, "cost"), flatten(ours, "cost"), margin)
    best = summary["metrics"].get("best_step")
    pointed = checkpoint.named(stated.folder.checkpoints, "best")
    if completed and best is not None and pointed is not None and pointed.name != name_of(best):
        raise DifferenceError(f"checkpoints/best names {pointed.name}, and the best score is that of step {best}")


def check_status(stated: Stated, replay: Replay) -> None:
    """Raises DifferenceError for a run whose status or step its checkpoints and records contradict."""
    newest, steps = stated.newest, replay.experiment.settings.steps
    finished = newest.step == steps and newest.concluded
    lost = replay.health.lost
    if lost is not None and (finished or replay.stops_if_lost):
        expected = (lost.symptom.status, str(lost.error()))
        said = (stated.status, (stated.summary or {}).get("error", ""))
        if said != expected:
            raise DifferenceError(f"summary.json says {stated.status}, and its records say {expected[1]}")
    elif stated.status == "completed" and not finished:
        raise DifferenceError(
            f"summary.json says completed, and {newest.folder.name} is its last checkpoint of {steps} steps"
        )
    elif stated.status == "collapsed":
        raise DifferenceError("summary.json says collapsed, and its records do not show it")


def to_score(stated: Stated, again: Rebuilt, full: bool) -> list[int]:
    """The steps of kept checkpoints with scores: the last and the best, or all."""
    if again.scorer is None:
        return []
    evaluated = {record["step"] for record in stated.records if kind_of(record) == "metrics"}
    kept = [one.step for one in stated.checkpoints if one.step in evaluated and one.concluded]
    best = best_record(list(stated.records), again.scorer.leading, again.scorer.lower_is_better)
    return [step for step in kept if full or step == kept[-1] or (best is not None and step == best["step"])]


def check_scores(step: int, stated: Stated, again: Rebuilt, margin: Margin) -> bool:
    """Measures the scores of a kept checkpoint again."""
    found = next(one for one in stated.checkpoints if one.step == step)
    theirs = next(one for one in stated.records if one["step"] == step and kind_of(one) == "metrics")
    place = f"metrics.jsonl, step {step}"
    compare_values(place, numbers(theirs), numbers(again.at(found).scores()), margin, origin=found.folder.name)
    return True


def listed_steps(steps: Sequence[int]) -> str:
    """step 3, or steps 1, 2 and 3."""
    *others, last = map(str, steps)
    return f"steps {', '.join(others)} and {last}" if others else f"step {last}"
