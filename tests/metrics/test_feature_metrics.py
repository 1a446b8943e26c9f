"""Our FID, IS and KID are torch-fidelity's own, whatever the batch size; the caches can be lost, torn or foreign."""

import hashlib
import io
import json
import math
import os
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.message import Message
from http.client import IncompleteRead
from pathlib import Path

import pytest
import torch
import torch_fidelity
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

from gan_cli import data
from gan_cli.data import TrainingSet
from gan_cli.datasets import Digits
from gan_cli.files import cache_folder
from gan_cli.metrics.classifier import Classifier, ClassifierExtractor, convolutions
from gan_cli.metrics.extractor import Extractor, LoadedExtractor
from gan_cli.metrics.feature_metrics import FeatureMetrics
from gan_cli.metrics.features import ImageFeatures, match_channels
from gan_cli.metrics.inception import FILE_NAME, InceptionExtractor, fold_batch_norms, network_with
from gan_cli.metrics.metrics import Metric, Sample, WeightsUnavailableError
from gan_cli.seeding import mix
from gan_cli.shapes import unlabelled
from gan_cli.work import listening

from ..conftest import EVERY_LABEL
from ..pairwise import every_third_quick
from ..values import subject

DIGITS = FeatureMetrics(
    extractor=ClassifierExtractor(name="digits_v2"),
    also=[],
    names=["fid", "inception_score", "kid", "precision_recall"],
    inception_score_splits=10,
    kid_subsets=5,
    kid_subset_size=20,
    cas_seeds=1,
    cas_steps=1,
    batch_size=64,
)


class Pixels(Dataset):
    """What torch-fidelity takes: one uint8 image at a time."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> Tensor:
        return self.values[row]


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> InceptionExtractor:
    """Random weights in the standard file's own format."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    torch.save(random_inception(), path)
    return InceptionExtractor(
        weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:16], otherwise=None
    )


def random_inception() -> dict[str, Tensor]:
    """He-scaled weights, so that features of different images differ."""
    with torch.device("meta"):
        shapes = without_weights().state_dict()
    state = {}
    for name, tensor in shapes.items():
        if name.endswith("running_var") or (name.endswith("bn.weight")):
            state[name] = torch.ones(tensor.shape)
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
        elif tensor.dim() > 1:
            state[name] = torch.randn(tensor.shape) * (2 / tensor[0].numel()) ** 0.5
        else:
            state[name] = torch.zeros(tensor.shape)
    return state


def without_weights() -> FeatureExtractorInceptionV3:
    """The architecture alone: its constructor insists on loading a file, so the load is answered with nothing."""
    network = FeatureExtractorInceptionV3.__new__(FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *args, **kwargs: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network.__init__("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path="-")  # type: ignore[misc]
    return network


def images(count: int, seed: int, channels: int = 1, size: int = 16) -> Tensor:
    """Smooth random images, so that no feature is constant."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (smooth * 255).round().to(torch.uint8)


def table(values: Tensor) -> TrainingSet:
    return TrainingSet(values, torch.full((len(values),), -1))


DATASET = Digits(image_size=16, metrics=DIGITS, **EVERY_LABEL)


def test_scores_equal_calculate_metrics_with_the_digit_classifier() -> None:
    real, fake = images(60, 0), images(50, 1)
    torch_fidelity.register_feature_extractor("digits", RegisteredClassifier)
    expected = torch_fidelity.calculate_metrics(
        input1=Pixels(fake),
        input2=Pixels(real),
        feature_extractor="digits",
        cuda=False,
        fid=True,
        isc=True,
        kid=True,
        prc=True,
        kid_subsets=5,
        kid_subset_size=20,
        batch_size=16,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    scores = DIGITS.against(table(real), 50).score(subject(fake))
    assert scores == pytest.approx(
        {
            "fid_digits_v2": expected["frechet_inception_distance"],
            "inception_score_digits_v2_mean": expected["inception_score_mean"],
            "inception_score_digits_v2_std": expected["inception_score_std"],
            "kid_digits_v2_mean": expected["kernel_inception_distance_mean"],
            "kid_digits_v2_std": expected["kernel_inception_distance_std"],
            "precision_digits_v2": expected["precision"],
            "recall_digits_v2": expected["recall"],
        },
        rel=1e-4,
    )


class RegisteredClassifier(Classifier):
    """As torch-fidelity builds an extractor: by name and wanted features."""

    def __init__(self, name: str, features_list: list[str], **settings: object) -> None:
        super().__init__(name, features_list, size=16, layers=convolutions())
        self.load_state_dict(ClassifierExtractor(name="digits_v2").load().network.state_dict())
        self.eval()


@pytest.mark.slow
def test_scores_equal_calculate_metrics_with_inception(inception: InceptionExtractor) -> None:
    real, fake = images(24, 0, channels=3, size=32), images(20, 1, channels=3, size=32)
    metrics = replace(DIGITS, extractor=inception, kid_subset_size=10, batch_size=8)
    expected = torch_fidelity.calculate_metrics(
        input1=Pixels(fake),
        input2=Pixels(real),
        feature_extractor_weights_path=inception.weights,
        cuda=False,
        fid=True,
        isc=True,
        kid=True,
        kid_subsets=5,
        kid_subset_size=10,
        batch_size=5,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    scorer = metrics.against(table(real), 20)
    scores, name = scorer.score(subject(fake)), f"_inception_{inception.sha256[:8]}"
    assert scores[f"fid{name}"] == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    assert scores[f"inception_score{name}_mean"] == pytest.approx(expected["inception_score_mean"], rel=1e-4)
    assert scores[f"kid{name}_mean"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)
    assert "fid" not in scores  # the plain name belongs to the standard weights
    assert scorer.protocol["extractor_sha256"].startswith(inception.sha256)


NAMES = ["fid", "inception_score", "kid", "precision_recall"]


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], ["fid"], ["kid", "fid"]])
def test_the_scorer_says_what_each_of_its_metrics_means(names: list[str]) -> None:
    scorer = replace(DIGITS, names=names).against(table(images(60, 0)), 50)
    scores = scorer.score(subject(images(50, 1)))
    assert scorer.directions.keys() == {key for key in scores if not key.endswith("_std")}
    better = {"fid_digits_v2": "lower", "inception_score_digits_v2_mean": "higher", "kid_digits_v2_mean": "lower"}
    better |= {"precision_digits_v2": "higher", "recall_digits_v2": "higher"}
    assert scorer.directions.items() <= better.items()
    assert next(iter(scores)) == scorer.leading == scorer.headlines[0] == "fid_digits_v2"
    assert scorer.lower_is_better
    assert ("inception_score_digits_v2_mean" in scorer.headlines) == ("inception_score" in names)


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_scores_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    real, fake = table(images(60, 0)), images(50, 1)
    scores = replace(DIGITS, batch_size=batch_size).against(real, 50).score(subject(fake))
    assert scores == pytest.approx(DIGITS.against(real, 50).score(subject(fake)), rel=1e-4, abs=1e-6)


OF_CLASSES = replace(DIGITS, names=["fid", "class_fid", "class_accuracy"])


def of_classes(features: Tensor, labels: Tensor) -> Sample:
    """Images with these features, whose logits say their labels."""
    return Sample(torch.empty(len(labels), 1, 1, 1), features, torch.eye(10)[labels], labels)


def test_class_fid_is_the_mean_over_classes_of_fid_within_the_class() -> None:
    """Classes of Gaussians with the same covariance: FID within a class is the squared distance of the means."""
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(30)
    features = torch.randn(300, 4, dtype=torch.float64)
    moves = torch.randn(10, 4, dtype=torch.float64)
    real, same, moved = (of_classes(values, labels) for values in (features, features, features + moves[labels]))
    assert DIGITS.class_fid(same, real)["class_fid"] == pytest.approx(0, abs=1e-9)
    assert DIGITS.class_fid(moved, real)["class_fid"] == pytest.approx(moves.square().sum(1).mean().item())


def test_shuffled_labels_change_no_fid_but_class_fid_and_class_accuracy() -> None:
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(100)
    features = torch.randn(1000, 4, dtype=torch.float64) + 20 * torch.randn(10, 4, dtype=torch.float64)[labels]
    real, order = of_classes(features, labels), torch.randperm(1000)
    shuffled = replace(real, labels=labels[order])
    scores = OF_CLASSES.compare(shuffled, real)
    assert scores["fid"] == pytest.approx(0, abs=1e-6)
    assert scores["class_fid"] > 0.5 * features.var(0).sum().item()  # a class looks like all of them
    assert scores["class_accuracy"] == pytest.approx(0.1, abs=0.03)
    assert DIGITS.class_accuracy(real, real) == {"class_accuracy": 1.0}


def test_class_fid_leaves_out_classes_without_a_covariance() -> None:
    features, labels = torch.randn(20, 4, dtype=torch.float64), torch.tensor([0] * 9 + [1] + [2] * 10)
    real, fake = of_classes(features, labels), of_classes(features + 2, labels)
    assert DIGITS.class_fid(fake, real)["class_fid"] == pytest.approx(16)
    assert DIGITS.class_fid(of_classes(features[9:10], labels[9:10]), real) == {}


def test_only_labelled_images_have_scores_of_classes() -> None:
    values, labels = images(60, 0), torch.arange(60) % 2
    with_labels = OF_CLASSES.against(TrainingSet(values, labels), 60)
    without = OF_CLASSES.against(table(values), 60)
    labelled, bare = with_labels.score(subject(values, labels)), without.score(subject(values))
    names = ["fid_digits_v2", "class_fid_digits_v2", "class_accuracy_digits_v2"]
    assert list(labelled) == list(with_labels.directions) == list(with_labels.floor()) == names
    assert list(bare) == list(without.directions) == list(without.floor()) == names[:1]
    assert bare["fid_digits_v2"] == labelled["fid_digits_v2"]
    assert with_labels.protocol == without.protocol


def test_the_digits_have_scores_of_their_classes_beside_a_floor() -> None:
    digits = DATASET.load()
    scorer = OF_CLASSES.against(digits, 1797)
    floor = scorer.floor()
    assert floor["class_accuracy_digits_v2"] > 0.99
    assert floor["class_fid_digits_v2"] > floor["fid_digits_v2"]  # fewer images, more bias
    scores = scorer.score(subject(digits.values, (digits.labels + 1) % 10))
    assert scores["class_accuracy_digits_v2"] < 0.01
    assert scores["class_fid_digits_v2"] > 10 * floor["class_fid_digits_v2"]


def test_class_accuracy_needs_an_extractor_of_the_datas_classes() -> None:
    many = TrainingSet(images(60, 0), torch.arange(60) % 12)
    with pytest.raises(ValueError, match="classifies the data's 12 classes, which the digits_v2 classifier does not"):
        OF_CLASSES.against(many, 50)


def test_real_images_score_at_the_floor_and_worse_ones_above() -> None:
    digits = DATASET.load()
    scorer = replace(DIGITS, names=["fid"], batch_size=500).against(digits, 800)
    floor = scorer.floor()["fid_digits_v2"]
    noise = torch.randint(0, 256, (800, 1, 16, 16), dtype=torch.uint8)
    one_class = digits.values[digits.labels == 3].repeat(5, 1, 1, 1)[:800]
    assert scorer.score(subject(digits.values[::2]))["fid_digits_v2"] < 1.5 * floor
    assert scorer.score(subject(noise))["fid_digits_v2"] > 50 * floor
    assert scorer.score(subject(one_class))["fid_digits_v2"] > 25 * floor


def test_extractors_compute_the_same_with_channels_last() -> None:
    plain, ours = DIGITS.extractor.load().network, DIGITS.against(table(images(60, 0)), 50).extractor.network
    kernels = [each for each in ours.parameters() if each.dim() == 4]
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in kernels)
    assert not all(each.is_contiguous() for each in kernels)
    for found, expected in zip(ours(images(200, 1)), plain(images(200, 1)), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_folded_batch_norm_changes_no_feature() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(BasicConv2d(3, 8, kernel_size=3, stride=2), BasicConv2d(8, 16, kernel_size=(1, 5))).double()
    for name, values in network.state_dict().items():
        if values.is_floating_point() and ".bn." in name:
            values.uniform_(0.2, 2.0)
    network, shown = network.eval(), torch.randn(5, 3, 32, 32, dtype=torch.float64)
    expected = network(shown)
    fold_batch_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(network(shown), expected, atol=1e-12, rtol=0)


@pytest.mark.slow
def test_folded_inception_has_the_features_of_torch_fidelitys(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = random_inception()
    for name, values in state.items():
        if name.endswith(("running_mean", "bn.bias")):
            values.normal_(0, 0.1)
        elif name.endswith(("running_var", "bn.weight")):
            values.uniform_(0.5, 2.0)
    torch.save(state, tmp_path / "inception.pth")
    digest = hashlib.sha256((tmp_path / "inception.pth").read_bytes()).hexdigest()
    ours = (
        InceptionExtractor(weights=str(tmp_path / "inception.pth"), sha256=digest, otherwise=None)
        .load()
        .to(torch.device("cpu"))
    )
    theirs = network_with(tmp_path / "inception.pth")
    shown = images(8, 0, channels=3, size=32)
    for found, expected in zip(ours.network(shown), theirs(shown), strict=True):
        torch.testing.assert_close(found / expected.std(), expected / expected.std(), atol=1e-4, rtol=0)


def test_grey_images_reach_an_rgb_extractor_and_the_other_way_round() -> None:
    rgb = images(40, 0, channels=1).expand(-1, 3, -1, -1)
    grey = DIGITS.against(table(images(40, 0)), 30).score(subject(images(30, 1)))
    colour = DIGITS.against(table(rgb), 30).score(subject(images(30, 1).expand(-1, 3, -1, -1)))
    assert colour == pytest.approx(grey, rel=1e-4, abs=1e-6)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each extraction saw."""
    calls: list[int] = []
    extract = FeatureMetrics.features

    def count(self: FeatureMetrics, extractor: object, pixels: Tensor, whose: str) -> object:
        calls.append(len(pixels))
        return extract(self, extractor, pixels, whose)

    monkeypatch.setattr(FeatureMetrics, "features", count)
    return calls


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_CLI_CACHE", str(tmp_path))
    return tmp_path / "features"


def test_real_features_are_computed_once(counted: list[int], empty_cache: Path) -> None:
    real = table(images(60, 0))
    first = DIGITS.against(real, 50).real
    second = DIGITS.against(real, 50).real
    assert counted == [60]
    assert torch.equal(first.features, second.features)


@pytest.mark.parametrize("change", ["pixels", "count", "weights"])
def test_the_cache_key_holds_everything_features_depend_on(
    change: str, counted: list[int], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = images(60, 0)
    DIGITS.against(table(values), 50)
    if change == "pixels":
        values = values.clone()
        values[0, 0, 0, 0] ^= 1
    elif change == "count":
        values = values[:59]
    else:
        monkeypatch.setattr("gan_cli.metrics.classifier.sha256", lambda path: "0" * 64)
    DIGITS.against(table(values), 50)
    assert len(counted) == 2


def stored(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118


def rewritten(path: Path, change: Callable[[dict[str, Tensor]], None], **metadata: str) -> None:
    """The same file, and the same stamp, with other arrays."""
    tensors, known = stored(path)
    change(tensors)
    save_file(tensors, path, metadata=known | metadata)


def scaled(tensors: dict[str, Tensor]) -> None:
    tensors["features"] *= 3  # FID would be that of other images


def signed_nan(path: Path) -> None:
    """As an attacker would, with a digest that fits."""
    tensors, known = stored(path)
    tensors["logits"][3, 4] = float("inf")
    save_file(
        tensors, path, metadata=known | {"sha256": ImageFeatures(tensors["features"], tensors["logits"]).sha256()}
    )


def huge(path: Path) -> None:
    """A header that claims 4 GB."""
    header = json.dumps({"features": {"dtype": "F32", "shape": [60, 2**24], "data_offsets": [0, 240 * 2**24]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def pickled(path: Path) -> None:
    torch.save({"a": 1}, path)


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("text"),
        lambda path: rewritten(path, lambda tensors: None, stamp="something else"),
        lambda path: rewritten(path, scaled),
        lambda path: rewritten(path, lambda tensors: tensors.update(features=tensors["features"][:-1])),
        lambda path: rewritten(path, lambda tensors: tensors.update(features=tensors["features"].double())),
        lambda path: rewritten(path, lambda tensors: tensors.update(features=torch.zeros(60))),
        lambda path: rewritten(path, lambda tensors: tensors.pop("logits")),
        signed_nan,
        huge,
        one_bit,
        pickled,
        pipe,
        lambda path: (path.unlink(), path.symlink_to(path)),
    ],
    ids=[
        *("truncated", "empty", "text", "foreign", "doctored", "rows", "dtype", "rank", "missing", "infinite"),
        *("huge", "bit", "pickled", "pipe", "circle"),
    ],
)
def test_a_spoilt_cache_is_computed_again_with_a_warning(
    spoil: Callable[[Path], object], counted: list[int], empty_cache: Path
) -> None:
    real = table(images(60, 0))
    good = DIGITS.against(real, 50).real
    (path,) = empty_cache.glob("*.safetensors")
    spoil(path)
    with pytest.warns(UserWarning, match="corrupt or foreign"):
        again = DIGITS.against(real, 50).real
    assert torch.equal(good.features, again.features)
    assert counted == [60, 60]
    DIGITS.against(real, 50)
    assert counted == [60, 60]


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GAN_CLI_CACHE", str(tmp_path / "file"))
    assert cache_folder() == tmp_path / "file"
    with pytest.warns(UserWarning, match="not cached"):
        DIGITS.against(table(images(60, 0)), 50)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="num_eval_images=5 must be at least 10"):
        DIGITS.against(table(images(60, 0)), 5)
    with pytest.raises(ValueError, match="the data set has 12 images"):
        DIGITS.against(table(images(12, 0)), 50)


def test_inception_weights_of_another_hash_are_refused(inception: InceptionExtractor) -> None:
    with pytest.raises(ValueError, match="is not the expected Inception weights"):
        replace(inception, sha256="6726825d").load()


def test_inception_weights_that_hold_code_are_refused_and_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return Path.touch, (canary,)  # type: ignore[return-value]

    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": Payload()}, path)
    extractor = InceptionExtractor(
        weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), otherwise=None
    )
    with pytest.raises(ValueError, match="does not hold Inception weights"):
        extractor.load()
    assert not canary.exists()


@pytest.mark.parametrize(
    "damage", every_third_quick(["truncated", "text", "deflated", "pipe", "shapes", "list"], of_one_value=True)
)
def test_damaged_inception_weights_are_one_line(inception: InceptionExtractor, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.pth"
    whole = Path(str(inception.weights)).read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        path.write_text("text")
    elif damage == "deflated":  # torch would read it, whatever it unpacks to
        with zipfile.ZipFile(str(inception.weights)) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                target.writestr(name, source.read(name), zipfile.ZIP_DEFLATED, 1)
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "shapes":
        torch.save({name: torch.zeros(1).expand(10**6) for name in random_inception()}, path)
    else:
        torch.save([1, 2], path)
    digest = "0" * 8 if damage == "pipe" else hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"does not hold Inception weights|is not a file"):
        InceptionExtractor(weights=str(path), sha256=digest, otherwise=None).load()


@pytest.mark.parametrize("cut", [True, False])
def test_a_download_that_is_cut_or_wrong_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    class Answer(io.BytesIO):
        def info(self) -> Message:
            return Message()

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            if cut and not content:
                raise IncompleteRead(b"", 1000)
            return content

    monkeypatch.setattr(torch.hub, "urlopen", lambda request: Answer(b"not the weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    extractor = InceptionExtractor(weights=None, sha256="6726825d", otherwise=None)
    for _ in range(2):  # what the first has left is not taken for the file
        with pytest.raises(WeightsUnavailableError, match="IncompleteRead" if cut else "6726825d.*got") as refusal:
            extractor.load()
    assert "https://" in str(refusal.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_missing_weights_without_a_network_say_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsUnavailableError, match=rf"put {FILE_NAME} \(from https://"):
        InceptionExtractor(weights=None, sha256="6726825d", otherwise=None).load()
    with pytest.raises(ValueError, match="is not a file"):
        InceptionExtractor(weights=str(tmp_path / "absent"), sha256="6726825d", otherwise=None).load()


def test_weights_in_the_hub_cache_are_found(
    inception: InceptionExtractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / FILE_NAME).symlink_to(str(inception.weights))
    loaded = replace(inception, weights=None).load()
    assert loaded.weights_sha256.startswith(inception.sha256)


def test_the_seed_of_an_evaluation_draws_the_subsets_of_kid_and_nothing_else() -> None:
    scorer = DIGITS.against(table(images(60, 0)), 50)
    first, same, other = (scorer.score(replace(subject(images(50, 1)), seed=seed)) for seed in (0, 0, 1))
    assert first == same
    assert {name for name, value in other.items() if value != first[name]} == {
        "kid_digits_v2_mean",
        "kid_digits_v2_std",
    }


def test_kid_subsets_fit_few_images_of_either_side() -> None:
    for num_real, num_fake in ((30, 60), (60, 30)):
        metrics = replace(DIGITS, kid_subset_size=50)
        scorer = metrics.against(table(images(num_real, 0)), num_fake)
        assert math.isfinite(scorer.score(subject(images(num_fake, 1)))["kid_digits_v2_mean"])
        assert scorer.protocol["kid_subset_size"] == 30, "the size that was used, not the one that was asked for"


def test_colour_is_averaged() -> None:
    pixel = torch.tensor([10, 20, 60], dtype=torch.uint8).reshape(1, 3, 1, 1)
    assert match_channels(pixel, 1).item() == 30


def test_what_a_killed_process_left_beside_the_cache_is_swept(counted: list[int], empty_cache: Path) -> None:
    real = table(images(60, 0))
    DIGITS.against(real, 50)
    (path,) = empty_cache.glob("*.safetensors")
    path.rename(path.with_name(f".{path.name}.{2**22 + 1}.partial"))
    DIGITS.against(real, 50)
    assert counted == [60, 60]
    assert list(empty_cache.glob("*.safetensors")) == [path]
    assert not list(empty_cache.glob(".*.partial"))


def test_a_second_process_waits_for_the_features_and_says_so(counted: list[int], empty_cache: Path) -> None:
    real = table(images(60, 0))
    DIGITS.against(real, 50)
    (path,) = empty_cache.glob("*.safetensors")
    computing = path.with_name(f".{path.name}.{2**22 + 1}.partial")
    path.rename(computing)
    lock, told = FileLock(path.with_suffix(".lock")), list[str]()

    def other_process(text: str) -> None:
        told.append(text)
        if text.startswith("waiting"):
            computing.rename(path)
            lock.release()

    lock.acquire()
    with listening(other_process):
        DIGITS.against(real, 50)
    assert counted == [60], "the other process computed them"
    waited = [text for text in told if text.startswith("waiting")]
    assert waited == ["waiting for another process that computes the same images' features, 0 s"]


def test_features_are_computed_where_the_cache_cannot_be_locked(
    counted: list[int], empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, doing_what: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("gan_cli.metrics.features.alone", refuse)
    with pytest.warns(UserWarning, match="real features are not cached"):
        DIGITS.against(table(images(60, 0)), 50)
    assert counted == [60]
    assert not list(empty_cache.glob("*.safetensors"))


class Recorder(Classifier):
    """A network that computes nothing, and remembers where its images lay and how often it was moved."""

    def __init__(self) -> None:
        super().__init__("recorder", ["features", "logits"], size=16, layers=convolutions())
        self.devices: list[torch.device] = []
        self.moves: list[str] = []

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        self.devices.append(pixels.device)
        generator = torch.Generator().manual_seed(len(self.devices))
        return torch.randn(len(pixels), 8, generator=generator), torch.randn(len(pixels), 10, generator=generator)

    def to(self, *device: torch.device, memory_format: object = None) -> "Recorder":  # type: ignore[override]
        self.moves += map(str, device)
        return self


@dataclass(frozen=True)
class RecorderExtractor(Extractor):
    network: Recorder

    def load(self) -> LoadedExtractor:
        return LoadedExtractor(self.network, name="recorder", weights_sha256="0" * 64, suffix="_recorder", channels=1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_features_are_computed_on_the_training_sets_device(device: str, empty_cache: Path) -> None:
    network = Recorder()
    metrics = replace(DIGITS, extractor=RecorderExtractor(network), batch_size=20)
    real = replace(table(images(60, 0)), device=torch.device(device))  # values stay where they are, as large sets do
    scorer = metrics.against(real, 50)
    scorer.score(subject(images(50, 1)))  # generated images are on the CPU
    scorer.score(subject(images(50, 2)))
    assert network.devices == [torch.device(device)] * 9
    assert network.moves == [device]


ON_ANOTHER_DEVICE = """
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from gan_cli.data import TrainingSet
from gan_cli.metrics import feature_metrics
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.metrics.extractor import LoadedExtractor
from gan_cli.metrics.feature_metrics import FeatureMetrics, FeatureScorer
from gan_cli.metrics.features import ImageFeatures
from gan_cli.metrics.metrics import Subject
from gan_cli.shapes import unlabelled
from gan_cli.work import listening


class Mode(FakeTensorMode):
    avoid_device_init = True


_setup_privateuseone_for_python_backend("fakegpu")
mode = Mode(allow_non_fake_inputs=True)
network = ClassifierExtractor(name="digits_v2").load().network
for module in network.modules():
    for name, weights in list(module.named_parameters(recurse=False)):
        with mode:
            moved = mode.from_tensor(weights.detach()).to("fakegpu")
        setattr(module, name, nn.Parameter(moved, requires_grad=False))
extractor = LoadedExtractor(network, "digits_v2", "0" * 64, "_digits_v2", 1, torch.device("fakegpu"))
compared = []
feature_metrics.COMPARISONS["fid"] = feature_metrics.Comparison(
    lambda metrics, fake, real: compared.append(fake.features) or {"fid": 1.0}, {"fid": "lower"}
)
metrics = FeatureMetrics(
    extractor=ClassifierExtractor(name="digits_v2"),
    also=[],
    names=["fid"],
    inception_score_splits=1,
    kid_subsets=1,
    kid_subset_size=2,
    cas_seeds=1,
    cas_steps=1,
    batch_size=20,
)
real = ImageFeatures(torch.zeros(60, 64), torch.zeros(60, 10))
scorer = FeatureScorer(metrics, extractor, real, TrainingSet(torch.zeros(60, 1, 16, 16), unlabelled(60)), 60, [])
print(scorer.score(Subject(mode.from_tensor(torch.zeros(50, 1, 16, 16, dtype=torch.uint8)), unlabelled(50))))
(features,) = compared
print(tuple(features.shape), features.device)
"""


@pytest.mark.slow
def test_a_device_that_refuses_cpu_tensors_takes_generated_images_from_the_cpu() -> None:
    """In a process of its own, for it renames a backend; the device computes no numbers, and mixes no devices."""
    done = subprocess.run([sys.executable, "-c", ON_ANOTHER_DEVICE], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["{'fid_digits_v2': 1.0}", "(50, 64) cpu"], done.stderr


def test_extraction_and_comparison_are_bitwise_what_they_are_without_a_thread() -> None:
    loaded = DIGITS.extractor.load()
    real, fake = (DIGITS.features(loaded, images(300, seed), "some") for seed in range(2))
    with torch.no_grad():
        outputs = [loaded.network(batch) for batch in images(300, 1).split(64)]
    for found, parts in zip((fake.features, fake.logits), zip(*outputs, strict=True), strict=True):
        assert torch.equal(found, torch.cat(parts))
    sides = [each.of(images(300, seed), unlabelled(300)) for seed, each in enumerate((real, fake))]
    scores = DIGITS.fid(*sides) | DIGITS.inception_score(*sides) | DIGITS.kid(*sides) | DIGITS.precision_recall(*sides)
    assert list(DIGITS.compare(*sides).items()) == list(scores.items())


def test_pixels_are_hashed_in_pieces_to_what_they_are_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = images(60, 0, channels=3)
    monkeypatch.setattr(data, "HASHED_BYTES", 3000)
    for values in (pixels, pixels.transpose(2, 3), pixels[::2]):
        assert data.sha256_of(values, "images") == hashlib.sha256(values.numpy().tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Brightness(Metric):
    """Of the images, plus the number of their features: what both sides of a comparison are given."""

    scale: float

    key = "brightness"
    better = "higher"

    def measure(self, fake: Sample, real: Sample) -> float:
        assert len(fake.images) == len(fake.features) == len(fake.logits)
        assert len(real.images) == len(real.features) == len(real.logits)
        return self.scale * (fake.images.double().mean() - real.images.double().mean()).item()


def test_a_metric_of_ones_own_reads_images_and_features_of_both_sides() -> None:
    real, fake = images(60, 0), images(50, 1)
    scorer = replace(DIGITS, names=["fid", Brightness(scale=2.0)]).against(table(real), 50)
    assert scorer.directions == {"fid_digits_v2": "lower", "brightness": "higher"}
    assert scorer.leading == "fid_digits_v2"
    assert scorer.protocol["brightness_scale"] == 2.0
    expected = 2 * (fake.double().mean() - real.double().mean()).item()
    assert scorer.score(subject(fake))["brightness"] == pytest.approx(expected)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(mix("floor")))
    halves = [real[rows].double().mean().item() for rows in (order[:30], order[30:])]
    assert scorer.floor()["brightness"] == pytest.approx(2 * (halves[0] - halves[1]))


def test_a_metric_of_ones_own_takes_no_key_that_is_taken() -> None:
    with pytest.raises(ValueError, match="two of names have the key brightness"):
        replace(DIGITS, names=["fid", Brightness(scale=1.0), Brightness(scale=2.0)])
