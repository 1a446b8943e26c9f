"""The test error and the confusion of known predictions, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from gan_cli.data import TrainingSet
from gan_cli.errors import UserError
from gan_cli.metrics.classification import ClassificationMetrics, ClassificationScorer
from gan_cli.metrics.metrics import Subject
from gan_cli.shapes import Images, Logits, unlabelled

LABELS = torch.tensor([0, 0, 1, 1, 2])
PREDICTED = torch.tensor([0, 2, 1, 1, 0])  # what is predicted for each image: its grey value says which it is


def a_test_set(labels: torch.Tensor = LABELS) -> TrainingSet:
    values = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    return TrainingSet(values, labels)


def classify(images: Images) -> Logits:
    """Twice as likely as each other class is the predicted one."""
    numbers = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
    return one_hot(PREDICTED[numbers], 3) * math.log(2)


SUBJECT = Subject(torch.empty(0, 0, 0, 0), unlabelled(0), classify)


def scorer(batch_size: int = 500, labels: torch.Tensor = LABELS) -> ClassificationScorer:
    training_set = replace(a_test_set(), held_out=a_test_set(labels))
    return ClassificationMetrics(batch_size=batch_size, attacks=[]).against(training_set, 0)


@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_error_and_confusion_of_known_predictions(batch_size: int) -> None:
    found = scorer(batch_size).score(SUBJECT)
    assert list(found) == ["test_error", "test_cross_entropy"]
    assert found["test_error"] == pytest.approx(2 / 5)
    right, wrong = torch.tensor([1 / 2, 1 / 4]).log().neg().tolist()
    assert found["test_cross_entropy"] == pytest.approx((3 * right + 2 * wrong) / 5)
    assert scorer(batch_size).confusion(SUBJECT).tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 0]]


def test_the_protocol_says_which_images_were_classified() -> None:
    metrics, found = ClassificationMetrics(batch_size=5, attacks=[]), scorer()
    assert metrics.reads_held_out
    assert not found.reads_images
    assert found.lower_is_better
    assert found.floor() == {}
    assert found.protocol == {"num_test": 5, "test_sha256": a_test_set().identified().digest}


def test_a_class_that_no_image_has_may_be_predicted() -> None:
    assert scorer(labels=torch.tensor([0, 0, 1, 1, 0])).confusion(SUBJECT).shape == (3, 3)


def test_images_without_labels_and_networks_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="held-out images have no labels"):
        scorer(labels=torch.tensor([0, 0, 1, 1, -1]))
    with pytest.raises(UserError, match="no class logits, which test_error reads: set objective="):
        scorer().score(Subject(torch.empty(0, 0, 0, 0), unlabelled(0)))
