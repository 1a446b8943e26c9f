"""DINOv2 and CLIP read files in their authors' formats, and nothing else; CMMD has its closed forms."""

import hashlib
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gan_cli.metrics.cmmd import cmmd
from gan_cli.metrics.vision_transformer import CLIPExtractor, DINOv2Extractor, TransformerExtractor, resized_positions

from ..values import subject
from .test_feature_metrics import DIGITS, images, table
from .test_memorisation import normal, sample

WIDTH, DEPTH = 384, 12  # of the small DINOv2


def of_dinov2() -> dict[str, Tensor]:
    """Random weights in the format of dinov2_vits14_pretrain.pth, for images of 518 pixels."""
    torch.manual_seed(0)
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + 37 * 37, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for number in range(DEPTH):
        sizes = {
            **{f"norm{norm}.{kind}": (WIDTH,) for norm in (1, 2) for kind in ("weight", "bias")},
            **{"attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.qkv.bias": (3 * WIDTH,)},
            **{"attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,)},
            **{"mlp.fc1.weight": (4 * WIDTH, WIDTH), "mlp.fc1.bias": (4 * WIDTH,)},
            **{"mlp.fc2.weight": (WIDTH, 4 * WIDTH), "mlp.fc2.bias": (WIDTH,)},
            **{"ls1.gamma": (WIDTH,), "ls2.gamma": (WIDTH,)},
        }
        shapes |= {f"blocks.{number}.{name}": size for name, size in sizes.items()}
    return {name: torch.randn(shape) * 0.05 for name, shape in shapes.items()}


def read(path: Path, **settings: str | None) -> TransformerExtractor:
    return DINOv2Extractor(size="small", weights=str(path), **({"sha256": None} | settings))


@pytest.mark.slow
def test_dinov2_in_its_authors_format_scores_under_its_hash(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="the extra `transformers`, a part of `dev`, is not installed")
    path = tmp_path / "dinov2_vits14_pretrain.pth"
    state = of_dinov2()
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = read(path, sha256=digest[:8]).load()
    assert (loaded.name, loaded.weights_sha256, loaded.suffix) == (
        "dinov2_vits14",
        digest,
        f"_dinov2_vits14_{digest[:8]}",
    )
    names = ["fid", "kid"]
    scorer = replace(DIGITS, extractor=read(path), names=names, kid_subsets=2).against(
        table(images(24, 0, channels=3)), 10
    )
    assert scorer.real.features.shape == (24, WIDTH)
    assert scorer.real.features.std(0).min() > 0
    assert list(scorer.score(subject(images(10, 1, channels=3)))) == [
        f"{name}{loaded.suffix}{moment}" for name, moment in (("fid", ""), ("kid", "_mean"), ("kid", "_std"))
    ]
    with pytest.raises(ValueError, match="inception_score reads class logits, which dinov2_vits14 has not"):
        replace(DIGITS, extractor=read(path)).against(table(images(24, 0, channels=3)), 10)
    torch.save({name: tensor for name, tensor in state.items() if name != "blocks.3.ls1.gamma"}, path)
    with pytest.raises(ValueError, match=r"does not hold weights of DINOv2Extractor: .*blocks\.3\.ls1\.gamma"):
        read(path).load()
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    for extractor in (read(other), CLIPExtractor(weights=str(other), sha256=None)):
        with pytest.raises(ValueError, match="does not hold weights of"):
            extractor.load()


def test_a_file_of_another_hash_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="is not the expected file: its SHA-256 begins with .*, not 12345678"):
        read(path, sha256="12345678").load()
    for missing in (str(tmp_path / "absent"), None):
        with pytest.raises(ValueError, match="is not a file: give the weights' file"):
            CLIPExtractor(weights=missing, sha256=None).load()


def test_resized_positions_keep_the_class_token_and_what_is_linear() -> None:
    """A bicubic kernel nearly reproduces a plane; the places are those of patches that are a 16.1th of the side."""
    plane = torch.arange(37.0).reshape(37, 1).expand(37, 37)
    positions = torch.cat([torch.full((1, 1, 1), -7.0), plane.reshape(1, -1, 1)], 1)
    resized = resized_positions(positions, 16)
    assert resized.shape == (1, 257, 1)
    assert resized[0, 0] == -7
    rows = resized[0, 1:, 0].reshape(16, 16)
    centers = (torch.arange(16) + 0.5) * 37 / 16.1 - 0.5
    assert torch.allclose(rows[1:-1], centers[1:-1, None].expand(14, 16), atol=0.06)  # without OFFSET 0.2 off
    assert torch.equal(resized_positions(positions, 37), positions)


def test_cmmd_of_two_points_and_of_two_samples_of_one_law() -> None:
    one, other = torch.tensor([[1.0, 0], [2, 0]]).double(), torch.tensor([[0.0, 3], [0, 1], [0, 2]]).double()
    assert cmmd(sample(one), sample(other))["cmmd"] == pytest.approx(1000 * (2 - 2 * exp(-2 / 200)), rel=1e-9)
    law = torch.tensor(
        [cmmd(sample(normal(40, 2 * seed)), sample(normal(60, 2 * seed + 1)))["cmmd"] for seed in range(60)]
    )
    assert abs(law.mean().item()) < 4 * law.std().item() / 60**0.5
    assert law.std() < 1
    moved = cmmd(sample(normal(40, 0) + 1), sample(normal(60, 1)))["cmmd"]
    assert moved > 1
    found = cmmd(sample(normal(40, 0).float() + 1), sample(normal(60, 1).float()))["cmmd"]
    assert found == pytest.approx(moved, rel=1e-4)
