"""What gan-verify does with one run: each number that its folder claims is computed again, as far as it is asked."""

import fcntl
import hashlib
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_cli.commands.train import difference
from gan_cli.config.nodes import flatten
from gan_cli.engine import Engine, choose_engine
from gan_cli.errors import CheckpointError, DifferenceError, LostError, UserError, one_line
from gan_cli.runs import checkpoint
from gan_cli.runs.checkpoint import Checkpoint, name_of, open_checkpoint
from gan_cli.runs.comparison import ROUNDING, Margin, compare_states, compare_values, numbers
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.formats import read_record, read_summary
from gan_cli.runs.health import Health
from gan_cli.runs.progress import showing_work
from gan_cli.runs.replay import Rebuilt, Replay, kind_of, own_threads, rebuilt
from gan_cli.runs.sessions import cpu_name, git, hardware, now
from gan_cli.runs.sink import Record
from gan_cli.runs.summary import best_record, versions
from gan_cli.runs.trained import trusted_config
from gan_cli.runs.verdict import Proved, digests, withdraw_verdict, write_verdict
from gan_cli.text import printable
from gan_cli.work import track

OF_THE_SUMMARY = ("step", "warnings", "config", "metrics", "objective", "protocol", "parameters", "overrides")
OF_ITS_COST = ("seconds", "images_seen", "images_per_second", "scoring_seconds", "sampling")
IN_THE_LAST_BITS = ("torch", "torchvision", "numpy", "torch-fidelity")  # versions that they may depend on
MOST_TOLD = 1e9  # of a tolerance
LEAST_SECONDS = 5.0  # to be announced

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Claims:
    """What a run's folder says of itself; the checkpoints are those that are kept, the oldest first."""

    folder: RunFolder
    summary: Record | None
    records: list[Record]
    sessions: list[dict[str, Any]]
    checkpoints: list[Checkpoint]

    @property
    def newest(self) -> Checkpoint:
        return self.checkpoints[-1]

    @property
    def last_step(self) -> int:
        """Of a checkpoint or a record."""
        return max([self.newest.step, *(record["step"] for record in self.records)])

    @property
    def status(self) -> str:
        return "unfinished" if self.summary is None else str(self.summary["status"])


@dataclass(frozen=True)
class Segment:
    """Steps between two kept checkpoints; `start` is None at the beginning of the run, `end` behind the last one."""

    first: int
    last: int
    start: Checkpoint | None
    end: Checkpoint | None
    known: bool  # whether the state at its start is


def verify_run(path: Path, options: Mapping[str, Any], seed: int, tell: Tell) -> Proved:
    """Computes the run's numbers again, and writes the verdict, if the folder is this user's.

    Raises DifferenceError for the first number that differs, and UserError for a run that cannot be computed here.
    """
    folder = RunFolder(path)
    if is_being_written(folder):
        raise UserError(f"{path} is being written by another process: wait for it")
    before = digests(folder)
    try:
        claims = read_claims(folder)
        proved = prove(claims, options, seed, tell)
    except DifferenceError:
        withdraw_verdict(folder)
        raise
    if digests(folder) != before:
        raise UserError(f"{path} was changed while it was verified: repeat the command")
    content = {
        "verdict": "verified",
        "date": now(),
        "hardware": hardware(choose(options["device"], claims.sessions)),
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


def read_claims(folder: RunFolder) -> Claims:
    """Reads every file that is compared; raises DifferenceError if they do not fit each other."""
    path = folder.path
    found = []
    for kept in checkpoint.complete(folder.checkpoints):
        try:
            found.append(open_checkpoint(kept))
        except CheckpointError as error:
            raise DifferenceError(one_line(error)) from error
        if name_of(found[-1].step) != kept.name:
            raise DifferenceError(f"{kept} is a checkpoint of step {found[-1].step}")
    if not found:
        raise UserError(f"{path} has no checkpoint: nothing of it can be verified")
    summary = None
    if (path / "summary.json").exists():
        try:
            read_summary(path)
            summary = json.loads((path / "summary.json").read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise DifferenceError(f"summary.json cannot be read: {one_line(error)}") from error
    stated = found[-1].config if summary is None else summary.get("config", found[-1].config)
    for one in found:
        expected = stated if one is found[-1] else stated | {"steps": one.config.get("steps")}  # it may have gone on
        if changes := difference(expected, one.config):
            name = found[-1].folder.name if summary is None else "summary.json"
            raise DifferenceError(f"{one.folder.name} is of a run with another config than {name}: {changes}")
    records = read_records(folder, found)
    claims = Claims(folder, summary, records, folder.sessions.all(), found)
    check_steps(claims)
    return claims


def read_records(folder: RunFolder, found: Sequence[Checkpoint]) -> list[Record]:
    """The records, which have to be those that the checkpoints vouch for; the last line may be torn."""
    content = folder.metrics.read_bytes() if folder.metrics.is_file() else b""
    known = 0
    for one in found:
        vouched = content[: one.records["bytes"]]
        if hashlib.sha256(vouched).hexdigest() != one.records["sha256"]:
            first, last = (content[:size].count(b"\n") for size in (known, one.records["bytes"]))
            raise DifferenceError(
                f"metrics.jsonl: one of the lines {first + 1} to {last} was changed after {one.folder.name} was written"
                if len(vouched) == one.records["bytes"]
                else f"metrics.jsonl has {len(content):,} bytes, and had {one.records['bytes']:,} at {one.folder.name}"
            )
        known = one.records["bytes"]
    lines_of = content.splitlines()
    records = []
    for number, line in enumerate(lines_of, 1):
        record = read_record(line)
        if record is None and number < len(lines_of):
            raise DifferenceError(f"metrics.jsonl: line {number} is not a record")
        if record is not None:
            records.append(record)
    return records


def check_steps(claims: Claims) -> None:
    """Records are in order, each once; a completed run has none behind its last checkpoint."""
    seen: set[tuple[int, str]] = set()
    before = 0
    for record in claims.records:
        step, kind = record["step"], kind_of(record)
        if step < before or (step, kind) in seen:
            raise DifferenceError(f"metrics.jsonl has the {kind} of step {step} twice, or out of order")
        before = step
        seen.add((step, kind))
    if claims.status == "completed" and claims.last_step > claims.newest.step:
        raise DifferenceError(
            f"summary.json says completed, and there are records up to step {claims.last_step}, behind the last "
            f"checkpoint, {claims.newest.folder.name}"
        )


def choose(device: str, sessions: Sequence[Mapping[str, Any]]) -> Engine:
    """`auto` is a CPU if the run was trained on one."""
    on_cpu = bool(sessions) and all(session["hardware"]["gpu"] is None for session in sessions)
    return choose_engine("cpu" if device == "auto" and on_cpu else device)


def prove(claims: Claims, options: Mapping[str, Any], seed: int, tell: Tell) -> Proved:
    """Everything that `options` ask for, the cheapest first."""
    newest, engine = claims.newest, choose(options["device"], claims.sessions)
    config = trusted_config(newest, options["trust"], options["dataset"]["root"])
    unlike = differences_here(claims, engine)
    margin = Margin(exact=not unlike)
    tell_of_run(claims, unlike, tell)
    try:
        with own_threads(engine), showing_work():
            again = rebuilt(
                claims.folder,
                newest,
                config,
                engine,
                initial_weights(newest, options["init_from"]),
                claims.records,
                claims.sessions,
                why_unscored(claims),
            )
            check_summary(claims, again, margin)
            tell("summary: what the records, the data and the config give" if claims.summary else "no summary.json")
            scored = [
                step for step in to_score(claims, again, options["full"]) if check_scores(step, claims, again, margin)
            ]
            if scored:
                tell(f"scores of {listed_steps(scored)}: measured again, {same(margin)}")
            segments = segments_of(claims, again)
            chosen = choice(segments, options, seed)
            if segments and not segments[0].known:
                tell(
                    f"steps 0 to {segments[0].last} cannot be replayed, as they began with another run's weights: add "
                    "init_from=<its folder>"
                )
            most_steps = math.inf if options["full"] else float(options["spot_steps"])
            replayed = replay_all(chosen, segments, claims, again, margin, most_steps, tell)
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


def tell_of_run(claims: Claims, unlike: Sequence[str], tell: Tell) -> None:
    config = claims.newest.config
    tell(f"run: {claims.folder.path}, {claims.status} at step {claims.newest.step}, seed {config.get('seed')}")
    made = (claims.summary or {}).get("versions", {})
    threads = dict.fromkeys(str(session["hardware"]["threads"]) for session in claims.sessions)
    machine = dict.fromkeys(session["hardware"]["gpu"] or session["hardware"]["cpu"] for session in claims.sessions)
    said = ", ".join(f"{name} {made[name]}" for name in ("gan_cli", "torch") if name in made)
    where = ", ".join(machine) or "machine unknown"
    tell(f"trained with: {said or 'versions unknown'}; {where}; threads: {', '.join(threads) or 'unknown'}")
    known = "the same" if claims.sessions else "its machine is not recorded"
    tell(f"here: {'; '.join(unlike)}: compared within rounding" if unlike else f"here: {known}: compared bit by bit")
    for key in ("compile", "capture"):
        if (value := config.get("engine", {}).get(key)) is True:
            tell(f"engine.{key}={str(value).lower()}: its steps are computed in the same way")
    if claims.status in ("interrupted", "failed", "unfinished"):
        tell(f"{claims.status}: what is there is compared, up to step {claims.last_step}")


def differences_here(claims: Claims, engine: Engine) -> list[str]:
    """What the last bits may depend on, where it is not as it was."""
    here = {"cpu": cpu_name(), "gpu": engine.gpu_name()}
    unlike = []
    for name, present in here.items():
        there = dict.fromkeys(session["hardware"][name] for session in claims.sessions)
        if any(one != present for one in there):
            unlike.append(f"trained on {', '.join(str(one or 'a CPU') for one in there)}, here {present or 'a CPU'}")
    if engine.gpu_name() is not None and not unlike:
        unlike.append("a GPU, whose last bits are not promised")
    made, present_versions = (claims.summary or {}).get("versions", {}), versions()
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


def why_unscored(claims: Claims) -> str | None:
    """Why the run has no scores; None if it has some."""
    if any("metrics" in record for record in claims.records):
        return None
    unavailable = (claims.summary or {}).get("metrics", {}).get("unavailable")
    return None if unavailable is None else str(unavailable)


def check_summary(claims: Claims, again: Rebuilt, margin: Margin) -> None:
    """Compares summary.json with what the records, the data, and the config give; times and memory are measurements."""
    summary, newest = claims.summary, claims.newest
    if summary is None:
        return
    replay = again.at(newest)
    for record in claims.records:
        if record["step"] > newest.step:
            replay.health.see(record)
    completed = claims.status == "completed"
    replay.step = newest.step if completed else max(newest.step, summary["step"])
    replay.seconds = newest.seconds if completed else summary["cost"].get("seconds", 0.0)
    if again.scorer is not None:
        replay.use_threads()
        replay.floor = again.scorer.floor()
    given = replay.summary(claims.status, summary.get("error", ""), list(claims.records))
    given = json.loads(json.dumps(given))
    check_status(claims, replay)
    for key in OF_THE_SUMMARY:
        if key in summary:
            compare_values("summary.json", flatten(summary[key], key), flatten(given[key], key), margin)
    costs = {key for key in summary["cost"] if key in OF_ITS_COST or key.endswith("_updates")}
    theirs, ours = ({key: cost[key] for key in costs if key in cost} for cost in (summary["cost"], given["cost"]))
    compare_values("summary.json", flatten(theirs, "cost"), flatten(ours, "cost"), margin)
    best = summary["metrics"].get("best_step")
    pointed = checkpoint.named(claims.folder.checkpoints, "best")
    if completed and best is not None and pointed is not None and pointed.name != name_of(best):
        raise DifferenceError(f"checkpoints/best names {pointed.name}, and the best score is that of step {best}")


def check_status(claims: Claims, replay: Replay) -> None:
    """Raises DifferenceError for a run whose status or step its checkpoints and records contradict."""
    newest, steps = claims.newest, replay.experiment.settings.steps
    finished = newest.step == steps and newest.concluded
    lost = replay.health.lost
    if lost is not None and (finished or replay.stops_if_lost):
        expected = (lost.symptom.status, str(lost.error()))
        stated = (claims.status, (claims.summary or {}).get("error", ""))
        if stated != expected:
            raise DifferenceError(f"summary.json says {claims.status}, and its records say {expected[1]}")
    elif claims.status == "completed" and not finished:
        raise DifferenceError(
            f"summary.json says completed, and {newest.folder.name} is its last checkpoint of {steps} steps"
        )
    elif claims.status == "collapsed":
        raise DifferenceError("summary.json says collapsed, and its records do not show it")


def to_score(claims: Claims, again: Rebuilt, full: bool) -> list[int]:
    """The steps of kept checkpoints with scores: the last and the best, or all."""
    if again.scorer is None:
        return []
    evaluated = {record["step"] for record in claims.records if kind_of(record) == "metrics"}
    kept = [one.step for one in claims.checkpoints if one.step in evaluated and one.concluded]
    best = best_record(list(claims.records), again.scorer.leading, again.scorer.lower_is_better)
    return [step for step in kept if full or step == kept[-1] or (best is not None and step == best["step"])]


def check_scores(step: int, claims: Claims, again: Rebuilt, margin: Margin) -> bool:
    """Measures the scores of a kept checkpoint again."""
    found = next(one for one in claims.checkpoints if one.step == step)
    theirs = next(one for one in claims.records if one["step"] == step and kind_of(one) == "metrics")
    place = f"metrics.jsonl, step {step}"
    compare_values(place, numbers(theirs), numbers(again.at(found).scores()), margin, origin=found.folder.name)
    return True


def segments_of(claims: Claims, again: Rebuilt) -> list[Segment]:
    """The pieces between the kept checkpoints, from the beginning to the last record, or to where the run diverged."""
    *zero, first, start, known = (*[one for one in claims.checkpoints if one.step == 0], 0, None, True)
    if "init_from" in claims.newest.config and again.initial is None:
        start, known = (zero[0], True) if zero else (None, False)
    segments = []
    for end in claims.checkpoints[len(zero) :]:
        segments.append(Segment(first, end.step, start, end, known))
        first, start, known = end.step, end, True
    last = claims.last_step
    if diverges(claims, again):
        last = max(last, claims.newest.step, (claims.summary or {})["step"] + 1)
    if last > first:
        segments.append(Segment(first, last, start, None, known))
    return segments


def diverges(claims: Claims, again: Rebuilt) -> bool:
    """Whether the run says that it ended at a number that is not finite; its records have only finite ones."""
    health = Health(again.objective)
    for record in claims.records:
        health.see(record)
    return claims.status == "diverged" and health.lost is None


def choice(segments: Sequence[Segment], options: Mapping[str, Any], seed: int) -> list[Segment]:
    """All, or the last and others at random; raises UserError if all cannot be computed."""
    possible = [one for one in segments if one.known]
    if options["full"]:
        if len(possible) < len(segments):
            raise UserError("the run began with the weights of another run: add init_from=<its folder>")
        return possible
    last, others = possible[-1:], possible[:-1]
    num_others = min(max(0, options["spot"] - 1), len(others))
    chosen = last[: options["spot"]] + random.Random(seed).sample(others, num_others)
    return sorted(chosen, key=lambda one: one.first)


def replay_all(
    chosen: Sequence[Segment],
    segments: Sequence[Segment],
    claims: Claims,
    again: Rebuilt,
    margin: Margin,
    most_steps: float,
    tell: Tell,
) -> dict[int, int]:
    """Replays the segments; returns the number of steps of each, by its first."""
    lengths = {one.first: int(min(one.last - one.first, most_steps)) for one in chosen}
    if chosen:
        steps = f"{sum(lengths.values()):,} of {segments[-1].last:,} steps"
        tell(f"replaying {steps}, {len(chosen)} of {len(segments)} segments{duration(lengths, claims)}")
    for number, one in enumerate(chosen, 1):
        end = one.first + lengths[one.first]
        compared = replay(one, end, claims, again, margin, f"replaying segment {number}/{len(chosen)}, step")
        short = "" if end == one.last else f" of {one.first} to {one.last}"
        tell(f"steps {one.first} to {end}{short}: {compared}: {same(margin)}")
    return lengths


def duration(lengths: Mapping[int, int], claims: Claims) -> str:
    """How long it takes at the run's own speed; nothing if that is below a few seconds, or not known."""
    evaluations = [one for one in claims.records if kind_of(one) == "metrics"]
    scored = sum(any(first < one["step"] <= first + length for first, length in lengths.items()) for one in evaluations)
    scoring = sum(one.get("scoring_seconds", 0.0) for one in evaluations) / max(1, len(evaluations))
    training = claims.newest.seconds / max(1, claims.newest.step)
    seconds = training * sum(lengths.values()) + scoring * scored
    return f": about {seconds:,.0f} s at the run's own speed" if seconds >= LEAST_SECONDS else ""


def listed_steps(steps: Sequence[int]) -> str:
    """step 3, or steps 1, 2 and 3."""
    *others, last = map(str, steps)
    return f"steps {', '.join(others)} and {last}" if others else f"step {last}"


def counted(records: int) -> str:
    return f"{records} record{'s' * (records != 1)}"


def same(margin: Margin) -> str:
    return (
        "the same to the last bit"
        if margin.found_exact
        else f"the same within rounding (at most {margin.largest:.1g} of a number)"
    )


def replay(segment: Segment, end: int, claims: Claims, again: Rebuilt, margin: Margin, what: str) -> str:
    """Trains from the segment's start to `end`, and compares each record and the checkpoint; returns what that was."""
    plain = again.at(segment.start)
    moved = None if margin.exact else again.at(segment.start, ROUNDING[plain.experiment.game.engine.precision])
    margin.moved.clear()
    origin = f"the replay from step {segment.first}"
    if segment.start is None and (zero := claims.checkpoints[0]).step == 0:
        compare_states(zero, plain, moved, margin, "the seed")
    known = {(one["step"], kind_of(one)): one for one in claims.records}
    compared: set[tuple[int, str]] = set()
    lost = ""
    try:
        for made, others in track(together(plain, moved, end), what, total=end - segment.first):
            compare_records(made, others, known, claims, margin, origin)
            compared |= {(one["step"], kind_of(one)) for one in made}
    except LostError as error:
        compare_records(plain.made, [], known, claims, margin, origin)
        compared |= {(one["step"], kind_of(one)) for one in plain.made}
        lost = str(error)
    for step, kind in known:
        if segment.first < step <= plain.step and (step, kind) not in compared:
            raise DifferenceError(f"metrics.jsonl has {kind} of step {step}, and {origin} records none")
    num_records = len(compared)
    if segment.end is None and diverges(claims, again) and end == segment.last:
        check_divergence(lost, claims, margin, origin)
        return f"{counted(num_records)}, and it diverges where the run did"
    if lost:
        raise DifferenceError(f"{origin} ends with: {lost}")
    if segment.end is None or end < segment.last:
        return f"{counted(num_records)}"
    compare_states(segment.end, plain, moved, margin, origin)
    return f"{counted(num_records)} and {segment.end.folder.name}"


def together(plain: Replay, moved: Replay | None, end: int) -> Iterator[tuple[list[Record], list[Record]]]:
    """The records of each step, and those of the replay with rounding errors, if there is one."""
    others = iter(()) if moved is None else moved.steps(end)
    for made in plain.steps(end):
        try:
            yield made, next(others, [])
        except LostError:
            yield made, []


def compare_records(
    made: Sequence[Record],
    others: Sequence[Record],
    known: Mapping[tuple[int, str], Record],
    claims: Claims,
    margin: Margin,
    origin: str,
) -> None:
    for ours in made:
        step, kind = ours["step"], kind_of(ours)
        theirs = known.get((step, kind))
        if theirs is None and step == claims.last_step and claims.status != "completed":
            continue  # it was stopped before
        if theirs is None:
            raise DifferenceError(f"metrics.jsonl has no {kind} of step {step}, which the config makes due")
        other = next((numbers(one) for one in others if kind_of(one) == kind), None)
        compare_values(f"metrics.jsonl, step {step}", numbers(theirs), numbers(ours), margin, other, origin)


def check_divergence(lost: str, claims: Claims, margin: Margin, origin: str) -> None:
    stated = (claims.summary or {}).get("error", "")
    if not lost:
        raise DifferenceError(f"summary.json says {stated!r}, and {origin} goes on beyond it")
    if margin.exact and lost != stated:
        raise DifferenceError(f"summary.json says {stated!r}, and {origin} says {lost!r}")
