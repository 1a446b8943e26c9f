"""Pictures hold what they are given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.pictures import GAP, save_curves, save_grid, save_points


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_every_image_in_reading_order(tmp_path: Path, channels: int) -> None:
    pixels = torch.arange(6, dtype=torch.uint8).mul(40).reshape(6, 1, 1, 1).expand(6, channels, 8, 8)
    save_grid(tmp_path / "grid.png", pixels)
    sheet = np.asarray(Image.open(tmp_path / "grid.png").convert("L"))
    scale = 512 // 27  # three tiles of nine pixels, their gap included
    assert sheet.shape == ((2 * 9 - 1) * scale, (3 * 9 - 1) * scale)
    centres = [[sheet[(row * 9 + 4) * scale, (column * 9 + 4) * scale] for column in range(3)] for row in range(2)]
    assert centres == [[0, 40, 80], [120, 160, 200]]
    assert sheet[0, 8 * scale] == GAP


def test_points_and_curves_can_be_drawn_from_little(tmp_path: Path) -> None:
    points = torch.randn(5, 2, 1, 1)
    save_points(tmp_path / "real.png", points)
    save_points(tmp_path / "points.png", points, points, lambda images: images.flatten(1).sum(1))
    blue, both = (colours(tmp_path / name) for name in ("real.png", "points.png"))
    assert {"real"} == blue
    assert {"real", "generated"} == both
    record = {
        "step": 1,
        "losses": {"discriminator": {"adversarial": 1.0}, "generator": {"adversarial": 2.0}},
        "scores": {"real": 0.0, "fake": 1.0},
    }
    for name, records in {
        "none": [],
        "losses": [record],
        "both": [record, {"step": 1, "metrics": {"fid": 3.0, "kid_mean": 1.0}}, {"step": 2, "metrics": {"fid": 2.0}}],
    }.items():
        save_curves(tmp_path / f"{name}.png", records, {"fid": 1.0}, 4)
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width > 1000


def colours(path: Path) -> set[str]:
    """Which of the two kinds of points a picture shows: real ones are blue, generated ones red."""
    red, _, blue = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).T.astype(int)
    shown = {"real": blue - red > 25, "generated": red - blue > 60}
    return {name for name, pixels in shown.items() if pixels.any()}
