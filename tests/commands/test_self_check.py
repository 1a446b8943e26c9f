"""gan-eval self_check=true, on small stand-ins for CIFAR-10 and the digits' classifier for Inception."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.commands import self_check as module
from gan_cli.commands.self_check import EXPECTED, measured, self_check
from gan_cli.data import TrainingSet
from gan_cli.engine import Engine
from gan_cli.errors import EndError, UserError
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.metrics.feature_metrics import FeatureMetrics

CPU = Engine()


def metrics(**changes: Any) -> FeatureMetrics:
    settings = {"names": ["fid", "inception_score"], "inception_score_splits": 2, "batch_size": 50, "also": []}
    settings |= {"kid_subsets": 2, "kid_subset_size": 10, "cas_seeds": 1, "cas_steps": 1}
    settings |= {"extractor": ClassifierExtractor(name="digits_v2")}
    return FeatureMetrics(**(settings | changes))


def noise(count: int, seed: int) -> TrainingSet:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 16, 16), generator=generator, dtype=torch.uint8)
    return TrainingSet(pixels, torch.full((count,), -1))


def test_the_same_images_are_at_distance_zero() -> None:
    scores = measured(metrics(), noise(100, 0), noise(100, 0))
    assert scores["fid"] == pytest.approx(0, abs=1e-3)
    assert scores["inception_score_mean"] >= 1


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the metrics give, in place of measuring CIFAR-10 with Inception."""
    scores = dict(EXPECTED)
    tables = {"train": noise(4, 0), "test": noise(4, 1)}
    monkeypatch.setattr(module, "load_training_set", lambda dataset: tables[dataset.split])
    monkeypatch.setattr(module, "measured", lambda metrics, fake, real: dict(scores))
    return scores


def test_the_published_scores_agree(scored: dict[str, float], capsys: pytest.CaptureFixture[str]) -> None:
    self_check(None, CPU)
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"metrics": EXPECTED, "published": EXPECTED, "agrees": True}


@pytest.mark.parametrize(("key", "value"), [("fid", 3.2), ("fid", 3.1), ("inception_score_mean", 11.0)])
def test_other_scores_are_an_error_that_names_them(
    scored: dict[str, float], key: str, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    scored[key] = value
    with pytest.raises(EndError, match=f"{key} are not the published ones") as end:
        self_check(None, CPU)
    assert end.value.code == 1
    assert json.loads(capsys.readouterr().out)["agrees"] is False


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="CIFAR10 is not in"):
        self_check(str(tmp_path), CPU)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gan_cli.metrics.inception import InceptionExtractor

    extractor = InceptionExtractor(weights=str(tmp_path / "none.pth"), sha256="6726825d", otherwise=None)
    with pytest.raises(UserError, match="is not a file"):
        measured(metrics(extractor=extractor), noise(4, 0), noise(4, 1))
