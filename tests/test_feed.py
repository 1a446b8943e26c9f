"""What a step is fed: rows in order, gathered at once, and ahead of time where a device computes meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.experiment import Experiment
from gan_cli.feed import Feed, gathered, real_batches, rows_of
from gan_cli.trainer import train

from .conftest import A_CLASSIFIER, TINY


@dataclass(frozen=True)
class Ahead(Engine):
    """A CPU that copies data while it computes, and notes what is done in which order."""

    done: list[str] = field(default_factory=list, compare=False)

    def feeds_ahead(self, place: torch.device) -> bool:
        return True

    def send(self, values: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
        copies = [value.clone() for value in values]
        self.done.append("sent")

        def received() -> list[Tensor]:
            self.done.append("received")
            return copies

        return received


def build(engine: Engine, *overrides: str) -> Experiment:
    return build_experiment(config_of(overrides), engine)


@pytest.mark.parametrize("first_step", [0, 2])
def test_images_of_the_next_step_are_sent_while_this_one_is_computed(first_step: int) -> None:
    """The first are gathered where they are needed, those after the last are not sent; losses are the same."""
    settings = [*TINY, "steps=5", "discriminator_steps=2", "generator_batch_size=6"]
    engine = Ahead()
    ahead, plain = build(engine, *settings), build(Engine(), *settings)
    losses = [[step.terms for step in train(each, first_step)] for each in (ahead, plain)]
    assert all(torch.equal(one, other) for one, other in zip(*losses, strict=True))
    assert engine.done == ["sent", "received"] * (4 - first_step)


def test_what_is_sent_is_what_the_step_reads() -> None:
    tiny = build(Ahead(), *A_CLASSIFIER)
    feed = Feed(tiny)
    for step in range(3):
        fed, expected = feed(step), gathered(tiny, step)
        assert torch.equal(fed.values, expected.values)
        assert torch.equal(fed.labels, expected.labels)
        feed.prepare(step + 1)
        assert list(feed.coming) == ([step + 1] if step < 2 else [])


def test_rows_are_those_of_every_turn_in_order() -> None:
    """Also of labelled images, which have batches of their own beside the real ones."""
    tiny = build(Engine(), *A_CLASSIFIER)
    rows = rows_of(tiny, 1)
    assert [len(part) for part in rows] == [4, 6]
    (batch,) = real_batches(tiny, 1)
    assert torch.equal(batch.real.images, tiny.training_set.batch(rows[0]).images)
    assert torch.equal(batch.labelled.images, tiny.training_set.batch(rows[1]).images)
    assert (batch.labelled.labels >= 0).all()


def test_a_cpu_copies_nothing_ahead() -> None:
    assert not Engine().feeds_ahead(torch.device("cpu"))
    cuda = Engine(torch.device("cuda"))
    assert cuda.feeds_ahead(torch.device("cpu"))
    assert not cuda.feeds_ahead(torch.device("cuda", 0))
