"""The steps of a run between its kept checkpoints, trained again and compared with what the run says."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_cli.errors import DifferenceError, LostError, UserError
from gan_cli.runs.checkpoint import Checkpoint
from gan_cli.runs.comparison import ROUNDING, Margin, compare_states, compare_values, numbers
from gan_cli.runs.health import Health
from gan_cli.runs.replay import Rebuilt, Replay, kind_of
from gan_cli.runs.sink import Record
from gan_cli.runs.stated import Stated
from gan_cli.work import track

LEAST_SECONDS = 5.0  # to be announced

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Segment:
    """Steps between two kept checkpoints; `start` is None at the beginning of the run, `end` behind the last one."""

    first: int
    last: int
    start: Checkpoint | None
    end: Checkpoint | None
    known: bool  # whether the state at its start is


def segments_of(stated: Stated, again: Rebuilt) -> list[Segment]:
    """The pieces between the kept checkpoints, from the beginning to the last record, or to where the run diverged."""
    *zero, first, start, known = (*[one for one in stated.checkpoints if one.step == 0], 0, None, True)
    if "init_from" in stated.newest.config and again.initial is None:
        start, known = (zero[0], True) if zero else (None, False)
    segments = []
    for end in stated.checkpoints[len(zero) :]:
        segments.append(Segment(first, end.step, start, end, known))
        first, start, known = end.step, end, True
    last = stated.last_step
    if diverges(stated, again):
        last = max(last, stated.newest.step, (stated.summary or {})["step"] + 1)
    if last > first:
        segments.append(Segment(first, last, start, None, known))
    return segments


def diverges(stated: Stated, again: Rebuilt) -> bool:
    """Whether the run says that it ended at a number that is not finite; its records have only finite ones."""
    health = Health(again.objective)
    for record in stated.records:
        health.see(record)
    return stated.status == "diverged" and health.lost is None


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
    stated: Stated,
    again: Rebuilt,
    margin: Margin,
    most_steps: float,
    tell: Tell,
) -> dict[int, int]:
    """Replays the segments; returns the number of steps of each, by its first."""
    lengths = {one.first: int(min(one.last - one.first, most_steps)) for one in chosen}
    if chosen:
        steps = f"{sum(lengths.values()):,} of {segments[-1].last:,} steps"
        tell(f"replaying {steps}, {len(chosen)} of {len(segments)} segments{duration(lengths, stated)}")
    for number, one in enumerate(chosen, 1):
        end = one.first + lengths[one.first]
        compared = replay(one, end, stated, again, margin, f"replaying segment {number}/{len(chosen)}, step")
        short = "" if end == one.last else f" of {one.first} to {one.last}"
        tell(f"steps {one.first} to {end}{short}: {compared}: {same(margin)}")
    return lengths


def duration(lengths: Mapping[int, int], stated: Stated) -> str:
    """How long it takes at the run's own speed; nothing if that is below a few seconds, or not known."""
    evaluations = [one for one in stated.records if kind_of(one) == "metrics"]
    scored = sum(any(first < one["step"] <= first + length for first, length in lengths.items()) for one in evaluations)
    scoring = sum(one.get("scoring_seconds", 0.0) for one in evaluations) / max(1, len(evaluations))
    training = stated.newest.seconds / max(1, stated.newest.step)
    seconds = training * sum(lengths.values()) + scoring * scored
    return f": about {seconds:,.0f} s at the run's own speed" if seconds >= LEAST_SECONDS else ""


def counted(records: int) -> str:
    return f"{records} record{'s' * (records != 1)}"


def same(margin: Margin) -> str:
    return (
        "the same to the last bit"
        if margin.found_exact
        else f"the same within rounding (at most {margin.largest:.1g} of a number)"
    )


def replay(segment: Segment, end: int, stated: Stated, again: Rebuilt, margin: Margin, what: str) -> str:
    """Trains from the segment's start to `end`, and compares each record and the checkpoint; returns what that was."""
    plain = again.at(segment.start)
    moved = None if margin.exact else again.at(segment.start, ROUNDING[plain.experiment.game.engine.precision])
    margin.moved.clear()
    origin = f"the replay from step {segment.first}"
    if segment.start is None and (zero := stated.checkpoints[0]).step == 0:
        compare_states(zero, plain, moved, margin, "the seed")
    known = {(one["step"], kind_of(one)): one for one in stated.records}
    compared: set[tuple[int, str]] = set()
    lost = ""
    try:
        for made, others in track(together(plain, moved, end), what, total=end - segment.first):
            compare_records(made, others, known, stated, margin, origin)
            compared |= {(one["step"], kind_of(one)) for one in made}
    except LostError as error:
        compare_records(plain.made, [], known, stated, margin, origin)
        compared |= {(one["step"], kind_of(one)) for one in plain.made}
        lost = str(error)
    for step, kind in known:
        if segment.first < step <= plain.step and (step, kind) not in compared:
            raise DifferenceError(f"metrics.jsonl has {kind} of step {step}, and {origin} records none")
    num_records = len(compared)
    if segment.end is None and diverges(stated, again) and end == segment.last:
        check_divergence(lost, stated, margin, origin)
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
    stated: Stated,
    margin: Margin,
    origin: str,
) -> None:
    for ours in made:
        step, kind = ours["step"], kind_of(ours)
        theirs = known.get((step, kind))
        if theirs is None and step == stated.last_step and stated.status != "completed":
            continue  # it was stopped before
        if theirs is None:
            raise DifferenceError(f"metrics.jsonl has no {kind} of step {step}, which the config makes due")
        other = next((numbers(one) for one in others if kind_of(one) == kind), None)
        compare_values(f"metrics.jsonl, step {step}", numbers(theirs), numbers(ours), margin, other, origin)


def check_divergence(lost: str, stated: Stated, margin: Margin, origin: str) -> None:
    said = (stated.summary or {}).get("error", "")
    if not lost:
        raise DifferenceError(f"summary.json says {said!r}, and {origin} goes on beyond it")
    if margin.exact and lost != said:
        raise DifferenceError(f"summary.json says {said!r}, and {origin} says {lost!r}")
