"""Held-out images and few labels: balanced, disjoint, and the same on every machine."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from gan_cli.data import TrainingSet
from gan_cli.datasets import Digits, Ring
from gan_cli.datasets.labelled import balanced_order
from gan_cli.metrics.mode_metrics import ModeMetrics
from gan_cli.runs.summary import protocol

from ..conftest import EVERY_LABEL

METRICS = ModeMetrics(max_deviations=3.0)
PINNED_LABELLED = [462, 828, 981, 1031, 1146, 1204, 1281, 1347, 1575, 1609]
PINNED_HELD_OUT = [89, 170, 369, 717, 876, 924, 991, 1425, 1459, 1519]


def digits(**settings: Any) -> Digits:
    return Digits(image_size=8, metrics=METRICS, **(EVERY_LABEL | settings))


def kept(dataset: Digits) -> list[int]:
    return (dataset.load().labels >= 0).nonzero().flatten().tolist()


def rows_among(values: torch.Tensor, whole: torch.Tensor) -> list[int]:
    """Where each image is in the whole; no two of the digits are the same."""
    equal = (values.flatten(1)[:, None] == whole.flatten(1)[None]).all(2)
    assert equal.sum(1).eq(1).all()
    return equal.long().argmax(1).tolist()


def test_the_same_labels_are_kept_on_every_machine() -> None:
    assert kept(digits(num_labelled=10)) == PINNED_LABELLED
    assert kept(digits(num_labelled=10, label_seed=1)) != PINNED_LABELLED
    whole = digits().load().values
    assert rows_among(digits(num_held_out=10).held_out().values, whole) == PINNED_HELD_OUT


@pytest.mark.parametrize("count", [10, 23, 100, 1790])
def test_kept_labels_are_balanced_true_and_nested(count: int) -> None:
    every, few = digits().load(), digits(num_labelled=count).load()
    given = few.labels >= 0
    assert torch.equal(few.labels[given], every.labels[given])
    assert torch.equal(few.values, every.values)
    counts, there = few.labels[given].bincount(minlength=10), every.labels.bincount()
    assert counts.sum() == count
    assert all(high - low <= 1 or low == most for low, most in zip(counts, there, strict=True) for high in counts)
    assert set(kept(digits(num_labelled=10))) <= set(kept(digits(num_labelled=count)))


def test_held_out_images_are_never_trained_on() -> None:
    whole, dataset = digits().load(), digits(num_held_out=500, num_labelled=100)
    train, held_out = dataset.load(), dataset.held_out()
    there = rows_among(torch.cat([train.values, held_out.values]), whole.values)
    assert sorted(there) == list(range(1797))
    assert torch.equal(held_out.labels, whole.labels[there[len(train) :]])
    assert held_out.labels.bincount().tolist() == [50] * 10
    assert torch.equal(held_out.values, digits(num_held_out=500, label_seed=7).held_out().values)


def test_images_without_a_label_are_held_out_last() -> None:
    labels = torch.tensor([-1, 0, -1, 1, 0, -1])

    class Some(Digits):
        def every_image(self) -> TrainingSet:
            return TrainingSet(torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1), labels)

    dataset = Some(image_size=1, metrics=METRICS, **(EVERY_LABEL | {"num_held_out": 4}))
    assert dataset.held_out().labels.sort().values.tolist() == [-1, 0, 0, 1]
    assert dataset.load().labels.tolist() == [-1, -1]
    with pytest.raises(ValueError, match="no labels: remove it"):
        replace(dataset, num_labelled=2).load()


def test_the_protocol_names_held_out_images_and_not_the_number_of_labels() -> None:
    plain, few, part = digits(), digits(num_labelled=20), digits(num_labelled=20, num_held_out=500)
    assert plain.protocol == few.protocol
    assert part.protocol == plain.protocol | {"num_held_out": 500}
    stamps = [protocol(data, data.load().identified(), None, 10, [0]) for data in (plain, few, part)]
    assert stamps[0] == stamps[1]
    assert stamps[0]["images_sha256"] != stamps[2]["images_sha256"]


def test_impossible_numbers_are_refused_in_one_line() -> None:
    for count in (9, 1798):
        with pytest.raises(ValueError, match=f"num_labelled={count} must be at least 10.* at most 1797"):
            digits(num_labelled=count).load()
    with pytest.raises(ValueError, match="at most 1297"):
        digits(num_labelled=1500, num_held_out=500).load()
    with pytest.raises(ValueError, match="leaves none of the 1797 images"):
        digits(num_held_out=1797).load()
    with pytest.raises(ValueError, match="Digits has no held-out images: set dataset.num_held_out"):
        digits().held_out()
    ring = Ring(num_modes=8, radius=2.0, std=0.1, points_per_mode=2, metrics=METRICS)
    with pytest.raises(ValueError, match="Ring has no held-out images"):
        ring.held_out()


def test_classes_take_turns_in_random_order() -> None:
    labels = torch.tensor([0] * 5 + [1] * 2 + [2] * 4)
    order = balanced_order(labels, 3)
    assert order.sort().values.tolist() == list(range(11))
    assert [sorted(turn.tolist()) for turn in labels[order].split([3, 3, 2, 2, 1])] == [
        *([0, 1, 2], [0, 1, 2]),
        *([0, 2], [0, 2], [0]),
    ]
    assert len({tuple(balanced_order(labels, seed).tolist()) for seed in range(20)}) == 20
