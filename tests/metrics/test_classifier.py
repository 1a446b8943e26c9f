"""The shipped classifiers: which files they are, that every feature says something, and what they are trained on."""

import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from gan_cli.data import TrainingSet, resize
from gan_cli.datasets import Digits
from gan_cli.metrics import train_classifier
from gan_cli.metrics.classifier import Classifier, ClassifierExtractor, convolutions, with_norms
from gan_cli.metrics.feature_metrics import FeatureMetrics, FeatureScorer

from ..conftest import EVERY_LABEL
from ..values import subject

NEW, OLD = ClassifierExtractor(name="digits_v2"), ClassifierExtractor(name="digits")
METRICS = FeatureMetrics(
    extractor=NEW,
    also=[OLD],
    names=["fid"],
    inception_score_splits=1,
    kid_subsets=1,
    kid_subset_size=2,
    cas_seeds=1,
    cas_steps=1,
    batch_size=500,
)
SHA256 = {
    "digits_v2": "bddd6fa6ae26e0e26e72937d1e31e195aa72eb55db0fce1ebc2bf53f8b51efb7",
    "mnist_v2": "26d7fb446400f66131fe24c76dc5cd30ecaeedaad0a3519396531b186f6cf609",
    "digits": "0ed09eae1b942f332f69e871b74a3a0d0035406cd3bff3329877c7e16f02d40b",
    "mnist": "6e46c7b96a4361a2ab37b3c02390d479ca8b94a5dc45d398352a501bfe3f8db2",
}


@pytest.fixture(scope="module")
def digits() -> TrainingSet:
    return Digits(image_size=16, metrics=METRICS, **EVERY_LABEL).load()


def outputs(extractor: ClassifierExtractor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    features, logits = extractor.load().network(pixels)
    return features.double(), logits


@pytest.mark.parametrize("name", SHA256)
def test_the_weights_are_those_that_the_documented_numbers_are_made_with(name: str) -> None:
    assert ClassifierExtractor(name=name).load().weights_sha256 == SHA256[name]


@pytest.mark.parametrize(("name", "fewest", "accuracy"), [("digits_v2", 25, 0.9961), ("mnist_v2", 15, 0.8247)])
def test_every_feature_varies_on_real_images_that_were_not_trained_on(
    name: str, fewest: float, accuracy: float, digits: TrainingSet
) -> None:
    """The UCI test digits; for MNIST's classifier, which has seen no UCI digit, with a margin as MNIST has."""
    pixels, labels = digits.values[::3], digits.labels[::3]
    if name == "mnist_v2":
        pixels = pad(resize(Digits(image_size=8, metrics=METRICS, **EVERY_LABEL).load().values[::3], 22), (5, 5, 5, 5))
    features, logits = outputs(ClassifierExtractor(name=name), pixels)
    assert features.std(0).min() > 0.3
    assert 0.5 < features.square().mean().sqrt() < 2  # which KID's kernel expects
    correlations = features.T.corrcoef().abs() - torch.eye(64)
    assert correlations.max() < 0.8
    assert effective_rank(features) > fewest
    assert (logits.argmax(1) == labels).float().mean().item() == pytest.approx(accuracy, abs=0.002)


def effective_rank(features: Tensor) -> float:
    shares = torch.linalg.svdvals(features - features.mean(0)).square()
    return torch.special.entr(shares / shares.sum()).sum().exp().item()


def test_features_of_the_first_version_that_never_vary_are_seen(digits: TrainingSet) -> None:
    features, _ = outputs(OLD, digits.values)
    assert (features.std(0) == 0).sum() == 37
    assert effective_rank(features) < 8


def test_the_header_says_what_the_weights_are_trained_on_and_how_good_they_are(digits: TrainingSet) -> None:
    with safe_open(str(files("gan_cli.metrics") / "weights" / "digits_v2.safetensors"), "pt") as file:
        facts = file.metadata()
    assert facts["trained_on"].startswith("3823 images, SHA-256 ")
    judged = train_classifier.grey(load_digits().images, load_digits().target)
    assert train_classifier.digest(*judged) not in facts["trained_on"]
    network = NEW.load().network
    assert isinstance(network, Classifier)
    measured = train_classifier.quality(network, digits.values, digits.labels)
    assert measured.items() <= facts.items()


@pytest.fixture(scope="module")
def scorer(digits: TrainingSet) -> FeatureScorer:
    """Against half of the digits; the other half is what is degraded."""
    return replace(METRICS, also=[]).against(TrainingSet(digits.values[::2], digits.labels[::2]), 800)


def noisy(pixels: Tensor, strength: float) -> Tensor:
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return (pixels + strength * noise).round().clamp(0, 255).to(torch.uint8)


def spotted(pixels: Tensor, strength: float) -> Tensor:
    chance = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0))
    return torch.where(chance < strength, torch.where(chance < strength / 2, 0, 255), pixels).to(torch.uint8)


def blurred(pixels: Tensor, strength: float) -> Tensor:
    mean = avg_pool2d(pixels.float(), 3, stride=1, padding=1)
    return ((1 - strength) * pixels + strength * mean).round().to(torch.uint8)


def moved(pixels: Tensor, strength: float) -> Tensor:
    return pixels.roll(int(strength), 3)


def collapsed(pixels: Tensor, strength: float) -> Tensor:
    return pixels[: int(len(pixels) / strength)].repeat(int(strength), 1, 1, 1)


@pytest.mark.parametrize(
    ("degrade", "strengths"),
    [
        (noisy, [16, 64]),
        (collapsed, [10, 90]),
        pytest.param(moved, [1, 2, 3], marks=pytest.mark.slow),
        pytest.param(spotted, [0.02, 0.05, 0.1], marks=pytest.mark.slow),
        pytest.param(blurred, [0.3, 0.6, 1], marks=pytest.mark.slow),
    ],
)
def test_worse_images_score_worse_and_real_ones_best(
    degrade: object, strengths: list[float], digits: TrainingSet, scorer: FeatureScorer
) -> None:
    real = digits.values[1::2]
    images = [real, *(degrade(real, strength) for strength in strengths)]  # type: ignore[operator]
    scores = [scorer.score(subject(each))["fid_digits_v2"] for each in images]
    assert scores == sorted(scores)
    assert scores[1] > 1.3 * scores[0]


@pytest.mark.slow
def test_fewer_classes_score_worse(digits: TrainingSet, scorer: FeatureScorer) -> None:
    real, labels = digits.values[1::2], digits.labels[1::2]
    scores = [scorer.score(subject(real[labels >= fewest]))["fid_digits_v2"] for fewest in (0, 1, 3, 6, 9)]
    assert scores == sorted(scores)
    assert scores[1] > 1.3 * scores[0]


def test_the_first_version_is_scored_beside_as_it_was(digits: TrainingSet) -> None:
    """Numbers of version 0.1.0."""
    scorer = METRICS.against(digits, 800)
    floor, scores = scorer.floor(), scorer.score(subject(digits.values[:900].roll(1, 3)))
    assert list(floor) == list(scores) == ["fid_digits_v2", "fid_digits"]
    assert floor["fid_digits"] == pytest.approx(0.09571361, rel=1e-4)
    assert scores["fid_digits"] == pytest.approx(0.32172783, rel=1e-4)
    assert scorer.directions == {"fid_digits_v2": "lower", "fid_digits": "lower"}
    assert (scorer.leading, scorer.headlines) == ("fid_digits_v2", ["fid_digits_v2"])
    assert scorer.protocol["also"] == "digits classifier"
    assert scorer.protocol["also_sha256"] == SHA256["digits"]
    alone = replace(METRICS, also=[]).against(digits, 800)
    assert "also" not in alone.protocol
    assert alone.floor() == {"fid_digits_v2": floor["fid_digits_v2"]}


@pytest.mark.parametrize("also", [[NEW], [OLD, OLD]])
def test_an_extractor_that_is_named_twice_is_refused(also: list[ClassifierExtractor], digits: TrainingSet) -> None:
    with pytest.raises(ValueError, match="also names an extractor twice"):
        replace(METRICS, also=also).against(digits, 800)


def test_normalizations_are_folded_into_the_layers_before_them() -> None:
    torch.manual_seed(0)
    normed = with_norms(convolutions()).double()
    images = torch.rand(50, 1, 16, 16, dtype=torch.double)
    normed(images)  # moves the running means
    for layer in normed:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    layers = train_classifier.folded(normed)
    assert [type(layer) for layer in layers] == [type(layer) for layer in convolutions()]
    assert torch.allclose(layers(images), normed.eval()(images), rtol=1e-9, atol=1e-9)


def test_images_move_by_what_is_drawn(monkeypatch: pytest.MonkeyPatch, digits: TrainingSet) -> None:
    images = digits.values[:20]
    assert not torch.allclose(train_classifier.moved(images), images.float(), atol=20)
    for name in ("MOST_TURN", "MOST_STRETCH", "MOST_SHIFT"):
        monkeypatch.setattr(train_classifier, name, 0.0)
    assert torch.allclose(train_classifier.moved(images), images.float(), atol=1e-2)


def test_the_command_writes_the_same_weights_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(train_classifier.EPOCHS, "digits_v2", 2)
    table = torch.cat([torch.tensor(load_digits().data), torch.tensor(load_digits().target)[:, None]], 1).int()
    rows = [",".join(map(str, row)) for row in table[:300].tolist()]
    (tmp_path / "optdigits.tra").write_text("\n".join(rows))
    written = []
    for name in "ab":
        monkeypatch.setattr(sys, "argv", ["", "digits", str(tmp_path), str(tmp_path / name)])
        threads = torch.get_num_threads()
        train_classifier.main()
        torch.set_num_threads(threads)
        written.append(load_file(tmp_path / name))
    assert written[0].keys() == written[1].keys() == NEW.load().network.state_dict().keys()
    assert all(torch.equal(written[0][key], written[1][key]) for key in written[0])
    with safe_open(str(tmp_path / "a"), "pt") as weights:
        facts = weights.metadata()
    assert facts["trained_on"].startswith("300 images")
    assert float(facts["accuracy"]) > 0.3
