"""Labels of generated images: as frequent as in the data, and a function of an image's number alone."""

import pytest
import torch

from gan_cli.data import ClassLaw, TrainingSet
from gan_cli.shapes import unlabelled


@pytest.mark.parametrize("counts", [(5, 5), (1, 2, 3, 4), (0, 7, 0, 1), (600, 1, 399), (178, 182, 177)])
@pytest.mark.parametrize("first", [0, 1000, 9_999_000])
def test_any_run_of_images_has_each_class_as_often_as_the_data(counts: tuple[int, ...], first: int) -> None:
    count = 5000
    labels = ClassLaw(counts).labels(range(first, first + count))
    shares = labels.bincount(minlength=len(counts)).double() / count
    expected = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    assert (shares - expected).abs().max() < 4 / count  # random labels would be off by about 35 / count
    assert ((shares > 0) == (expected > 0)).all()


def test_an_images_label_depends_on_its_number_alone() -> None:
    law = ClassLaw((3, 1, 2))
    together = law.labels(range(512))
    assert torch.equal(together, torch.cat([law.labels(range(256)), law.labels(range(256, 512))]))
    assert torch.equal(law.labels([400, 3]), together[[400, 3]])


def test_neighbours_differ() -> None:
    labels = ClassLaw((10,) * 10).labels(range(1000))
    assert (labels[1:] != labels[:-1]).double().mean() > 0.9


def test_without_classes_nothing_has_a_label() -> None:
    assert torch.equal(ClassLaw().labels(range(3)), unlabelled(3))
    assert TrainingSet(torch.zeros(4, 1, 2, 2), unlabelled(4)).class_counts == []


def test_classes_are_counted_among_the_images_with_a_label() -> None:
    some = TrainingSet(torch.zeros(6, 1, 2, 2), torch.tensor([2, -1, 0, 2, -1, 2]))
    assert (some.num_classes, some.class_counts) == (3, [1, 0, 3])
    assert some.without_labels().class_counts == []


@pytest.mark.parametrize(
    ("counts", "expected"), [((1, 1, 1), [0, 1, 2]), ((1, 0, 1), [0, 2]), ((1,) * 100, [0, 33, 66, 99])]
)
def test_some_classes_stand_for_all(counts: tuple[int, ...], expected: list[int]) -> None:
    assert ClassLaw(counts).spread(4) == expected
