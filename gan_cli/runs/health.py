"""Whether a training is lost: told from the run's records alone, so that a continued run tells the same."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from gan_cli.errors import CollapsedError, DivergedError, LostError
from gan_cli.objectives.objective import Objective
from gan_cli.runs.sink import Record

LEAST_SPREAD = 0.01  # of generated images, relative to real ones
WON = 0.01  # of the way from a perfect discriminator's loss to its loss at equilibrium
BEGINNING = 100  # steps
GROWTH, LARGEST = 1e6, 1e8  # of a loss: against the run's beginning (at least 1), and at all
# Losses of two batches are never closer, relatively or absolutely, unless the networks ignore what they are given.
SAME, NOTHING = 1e-6, 1e-9


@dataclass(frozen=True)
class Scale:
    """What a loss is compared with: the objective's own, and the largest of the run's beginning, at least 1."""

    perfect_loss: float | None
    equilibrium_loss: float | None
    beginning: float = 1.0


@dataclass(frozen=True)
class Symptom:
    """A way to be lost, found where every record of `window` steps shows it.

    `is_shown(record, start, scale)` compares with the record in which the symptom began.
    """

    name: str
    status: Literal["collapsed", "diverged"]
    window: int
    meaning: str
    is_shown: Callable[[Record, Record, Scale], bool]


@dataclass
class Finding:
    """Consecutive records that show a symptom, from step `first` to step `last`."""

    symptom: Symptom
    start: Record
    last: int
    over: bool = False

    @property
    def first(self) -> int:
        step: int = self.start["step"]
        return step

    @property
    def found(self) -> bool:
        return self.last - self.first >= self.symptom.window

    def error(self) -> LostError:
        kind = DivergedError if self.symptom.status == "diverged" else CollapsedError
        return kind(f"{self.symptom.status}: {self}")

    def __str__(self) -> str:
        until = f" to {self.last}" if self.over else ""
        return f"{self.symptom.name} from step {self.first}{until}: {self.symptom.meaning}"


class Health:
    """Sees every record of a run, in order."""

    def __init__(self, objective: Objective) -> None:
        self.scale = Scale(objective.perfect_loss(), objective.equilibrium_loss())
        self.findings: list[Finding] = []

    def see(self, record: Record) -> list[Finding]:
        """Returns what this record has made certain."""
        if "losses" not in record:
            return []
        if record["step"] <= BEGINNING:
            self.scale = replace(self.scale, beginning=max(self.scale.beginning, largest(record)))
        return [finding for symptom in SYMPTOMS for finding in self.follow(symptom, record)]

    def follow(self, symptom: Symptom, record: Record) -> Iterator[Finding]:
        current = next((one for one in self.findings if one.symptom is symptom and not one.over), None)
        if current is not None and symptom.is_shown(record, current.start, self.scale):
            known, current.last = current.found, record["step"]
            if current.found and not known:
                yield current
            return
        if current is not None and current.found:
            current.over = True
        elif current is not None:
            self.findings.remove(current)
        if symptom.is_shown(record, record, self.scale):
            self.findings.append(Finding(symptom, record, record["step"]))

    @property
    def lost(self) -> Finding | None:
        """The gravest symptom that still holds."""
        found = [one for one in self.findings if one.found and not one.over]
        return min(found, key=lambda one: SYMPTOMS.index(one.symptom), default=None)

    def warnings(self) -> list[str]:
        """A sentence for everything that was found, also what passed."""
        return [str(one) for one in self.findings if one.found]

    def intervals(self) -> list[tuple[str, int, int]]:
        """Name, first and last step of everything that was found."""
        return [(one.symptom.name, one.first, one.last) for one in self.findings if one.found]


def largest(record: Record) -> float:
    return max((abs(loss) for terms in record["losses"].values() for loss in terms.values()), default=0.0)


def close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=SAME, abs_tol=NOTHING)


def adversarial(record: Record, player: str) -> float:
    """Not a number in a damaged record that lacks it."""
    loss: float = record["losses"].get(player, {}).get("adversarial", math.nan)
    return loss


def has_exploded(record: Record, start: Record, scale: Scale) -> bool:
    return largest(record) > min(LARGEST, GROWTH * scale.beginning)


def is_constant(record: Record, start: Record, scale: Scale) -> bool:
    """No loss depends on the batch: all are what they were at the start, or real and generated images score the same.

    A dead discriminator still has a bias, which its optimizer may move. A lazy penalty is not in every record.
    """
    pairs = [(adversarial(record, player), adversarial(start, player)) for player in record["losses"]]
    scores = record.get("scores", {})
    same_scores = close(scores.get("real", math.nan), scores.get("fake", math.nan))
    return same_scores or (bool(pairs) and all(close(*pair) for pair in pairs))


def makes_constant_images(record: Record, start: Record, scale: Scale) -> bool:
    return bool(record.get("spread", math.inf) < LEAST_SPREAD)


def discriminator_has_won(record: Record, start: Record, scale: Scale) -> bool:
    """Judged only where the objective has a least loss: that of a critic, as in WGAN or the KL divergence, has none."""
    if scale.perfect_loss is None or scale.equilibrium_loss is None:
        return False
    above = adversarial(record, "discriminator") - scale.perfect_loss
    return bool(above < WON * (scale.equilibrium_loss - scale.perfect_loss))


SYMPTOMS = (  # the gravest first
    Symptom("explosion", "diverged", 100, "a loss is above 1e8, or 1e6 times what it began with", has_exploded),
    Symptom("constant losses", "collapsed", 200, "no loss depends on the batch", is_constant),
    Symptom(
        "constant generator",
        "collapsed",
        500,
        "generated images vary by less than 1 % of what real ones do",
        makes_constant_images,
    ),
    Symptom(
        "discriminator has won",
        "collapsed",
        1000,
        "its loss is within 1 % of telling all images apart",
        discriminator_has_won,
    ),
)
