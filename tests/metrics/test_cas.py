"""Classifiers trained on generated images, tested on real ones."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_cli.data import TrainingSet
from gan_cli.metrics.cas import CAS, batch_of, small_classifier
from gan_cli.shapes import Examples

from ..conftest import TINY, Command
from ..values import subject
from .test_feature_metrics import DIGITS, table


def squares(count: int, seed: int) -> TrainingSet:
    """Noise with a bright square, in another corner for each of four classes."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 100, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 4
    for number, image in zip(labels.tolist(), values, strict=True):
        row, column = divmod(number, 2)
        image[0, 4 * row :][:4, 4 * column :][:, :4] += 100
    return TrainingSet(values, labels)


REAL, HELD_OUT = squares(80, 0), squares(40, 1)


def cas(**changes: Any) -> CAS:
    return CAS(**({"real": REAL, "held_out": HELD_OUT, "num_seeds": 2, "num_steps": 3} | changes))


def test_images_like_the_real_ones_train_a_classifier_and_mislabelled_ones_none() -> None:
    made, scorer = squares(80, 2), cas(num_steps=25, num_seeds=1)
    assert scorer.score(made.values, made.labels) == {"cas_mean": 1.0, "cas_real_mean": 1.0, "cas_both_mean": 1.0}
    assert scorer.accuracies([replace(made, labels=(made.labels + 1) % 4)], "mislabelled images") == [0.0]


def test_the_real_images_themselves_score_what_real_images_score() -> None:
    few = cas()
    scores = few.score(REAL.values, REAL.labels)
    for moment in ("mean", "std"):
        assert scores[f"cas_{moment}"] == scores[f"cas_real_{moment}"] == few.floor()[f"cas_{moment}"]
    assert list(scores) == [f"cas{which}_{moment}" for which in ("", "_real", "_both") for moment in ("mean", "std")]


def test_scores_depend_on_nothing_that_was_drawn_before() -> None:
    first = cas().score(*(squares(80, 2).values, REAL.labels))
    torch.manual_seed(5)
    assert cas().score(*(squares(80, 2).values, REAL.labels)) == first


def test_classifiers_of_the_real_images_are_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def accuracy(self: CAS, sets: Sequence[TrainingSet], seed: int) -> float:
        trained.append(len(sets))
        return 0.5

    monkeypatch.setattr(CAS, "accuracy", accuracy)
    scorer = cas(num_seeds=1)
    scores = scorer.score(REAL.values, REAL.labels) | scorer.score(REAL.values, REAL.labels) | scorer.floor()
    assert trained == [1, 2, 1, 1, 2]  # generated, both and real; generated and both
    assert scores == {"cas_mean": 0.5, "cas_real_mean": 0.5, "cas_both_mean": 0.5}, "one seed has no deviation"


@pytest.mark.parametrize("num_images", [10, 1000])
def test_every_training_sees_as_many_batches(num_images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch shows each image once, and the trainings on few images have more epochs."""
    seen: list[Tensor] = []

    def see(sets: Sequence[TrainingSet], rows: Tensor) -> Examples:
        seen.append(rows)
        return batch_of([REAL], rows % 80)

    monkeypatch.setattr("gan_cli.metrics.cas.batch_of", see)
    made = TrainingSet(torch.zeros(num_images, 1, 8, 8, dtype=torch.uint8), torch.zeros(num_images, dtype=torch.long))
    cas(num_steps=5).accuracy([made], 0)
    assert [len(rows) for rows in seen] == [64] * 5
    counts = torch.cat(seen).bincount(minlength=num_images)
    assert counts.min() >= 320 // num_images
    assert counts.max() <= -(-320 // num_images)


def test_batches_of_several_sets_hold_the_rows_of_their_union() -> None:
    rows = torch.tensor([0, 79, 80, 119, 3])
    batch = batch_of([REAL, HELD_OUT], rows)
    union = TrainingSet(torch.cat([REAL.values, HELD_OUT.values]), torch.cat([REAL.labels, HELD_OUT.labels]))
    expected = union.batch(rows)
    found = {(image.sum().item(), label) for image, label in zip(batch.images, batch.labels.tolist(), strict=True)}
    assert found == {
        (image.sum().item(), label) for image, label in zip(expected.images, expected.labels.tolist(), strict=True)
    }


@pytest.mark.parametrize("size", [4, 8, 33])
def test_the_classifier_takes_images_of_any_size(size: int) -> None:
    assert small_classifier(3, 7)(torch.randn(2, 3, size, size)).shape == (2, 7)


WITH_CAS = replace(DIGITS, names=["fid", "cas"], cas_steps=2)


def test_it_is_beside_fid_in_one_score() -> None:
    scorer = WITH_CAS.against(replace(REAL, held_out=HELD_OUT), 80)
    scores, floor = scorer.score(subject(REAL.values, REAL.labels)), scorer.floor()
    assert list(scores) == list(scorer.directions) == ["fid_digits_v2", "cas_mean", "cas_real_mean", "cas_both_mean"]
    assert list(floor) == ["fid_digits_v2", "cas_mean"]
    assert scorer.headlines == ["fid_digits_v2", "cas_mean"]
    assert {key: value for key, value in scorer.protocol.items() if key.startswith("cas_")} == {
        "cas_seeds": 1,
        "cas_steps": 2,
        "cas_num_held_out": 40,
    }
    assert WITH_CAS.reads_held_out
    assert not DIGITS.reads_held_out


def test_images_without_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="these have no labels: choose a conditioning"):
        WITH_CAS.against(replace(table(REAL.values), held_out=HELD_OUT), 80)


@pytest.mark.slow
def test_a_conditional_run_has_the_scores_that_gan_eval_gives_its_checkpoint(command: Command) -> None:
    names = "dataset.metrics.names=[fid,class_fid,class_accuracy,cas]"
    settings = [*TINY, names, "dataset.metrics.cas_steps=2", "dataset.num_held_out=100", "conditioning=concat"]
    assert command("train", *settings, "device=cpu", "run_dir=run")[0] == 0
    summary = json.loads(Path("run/summary.json").read_text())
    code, printed, _ = command("eval", "run", "device=cpu")
    assert code == 0
    result = json.loads(printed)
    assert {"class_fid_digits_v2", "class_accuracy_digits_v2", "cas_mean", "cas_real_std"} <= result["metrics"].keys()
    assert result["metrics"] == summary["metrics"]["last"]
    assert result["floor"] == summary["metrics"]["floor"]
    assert {key for key in summary["metrics"]["directions"] if "cas" in key} == {
        "cas_mean",
        "cas_real_mean",
        "cas_both_mean",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["dataset.num_held_out=100"], "these have no labels: choose a conditioning"),
        (["conditioning=concat"], "set dataset.num_held_out=<how many>"),
    ],
)
def test_what_it_needs_is_asked_for_in_one_line(settings: list[str], message: str, command: Command) -> None:
    code, _, told = command("train", *TINY, "dataset.metrics.names=[fid,cas]", "run_dir=run", *settings)
    assert code == 2
    assert message in told.splitlines()[-1]
    assert not Path("run").exists()
