"""Pictures hold what they are given."""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_cli.metrics.metrics import NearestImages
from gan_cli.runs import pictures
from gan_cli.runs.pictures import GAP, save_curves, save_grid, save_latents, save_points, save_side_by_side


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


def test_points_of_a_class_have_its_colour_real_and_generated(tmp_path: Path) -> None:
    real, fake = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    labels = torch.tensor([0, 1])
    save_points(tmp_path / "own.png", real[:, :, None, None], fake[:, :, None, None], labels=(labels, labels))
    save_points(tmp_path / "one.png", real[:, :, None, None], fake[:, :, None, None], labels=(labels, 0 * labels))
    own, one = (np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int) for name in ("own.png", "one.png"))
    half = own.shape[0] // 2
    assert (own[: half - 60] == one[: half - 60]).all()  # the upper point is of class 0 in both
    assert (own[half:-90] != one[half:-90]).any()


def colours(path: Path) -> set[str]:
    """Which of the two kinds of points a picture shows: real ones are blue, generated ones red."""
    red, _, blue = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).T.astype(int)
    shown = {"real": blue - red > 25, "generated": red - blue > 60}
    return {name for name, pixels in shown.items() if pixels.any()}


def test_pictures_beside_each_other_keep_their_pixels(tmp_path: Path) -> None:
    shades = {"left": 40, "right": 200}
    for name, shade in shades.items():
        save_grid(tmp_path / f"{name}.png", torch.full((4, 1, 8, 8), shade, dtype=torch.uint8))
    save_side_by_side(tmp_path / "both.png", {name: tmp_path / f"{name}.png" for name in shades})
    sheet = np.asarray(Image.open(tmp_path / "both.png").convert("L"))
    middle = sheet.shape[1] // 2
    assert {40, GAP} <= set(np.unique(sheet[:, :middle]))
    assert {200, GAP} <= set(np.unique(sheet[:, middle:]))
    assert 200 not in sheet[60:-60, : middle - 20]
    grid = np.asarray(Image.open(tmp_path / "right.png"))
    assert np.array_equal(sheet[40:-16, -16 - grid.shape[1] : -16], grid)


@pytest.mark.parametrize(("size", "channels", "tile"), [(8, 1, 64), (300, 3, 128)])
def test_generated_images_are_above_their_nearest_ones(tmp_path: Path, size: int, channels: int, tile: int) -> None:
    """Every tile has the colour of its place: of each band four rows, the generated images first."""
    values = torch.arange(24, dtype=torch.uint8).mul(10).reshape(2, 4, 3)
    tiles = values.reshape(2, 4, 3, 1, 1, 1).expand(2, 4, 3, channels, size, size)
    bands = ((band[0], band[1:].transpose(0, 1)) for band in tiles)
    pictures.save_nearest(tmp_path / "nearest.png", NearestImages(*bands))
    sheet = np.asarray(Image.open(tmp_path / "nearest.png").convert("L"))
    rows = sheet[:, 150 + tile // 2 : 150 + 3 * tile : tile + 1]  # one pixel of the tiles of each column
    lengths = [(row, len(list(same))) for row, same in groupby(map(tuple, rows.tolist()))]
    shown = [row for row, length in lengths if length == tile]
    assert shown == [tuple(row) for row in values.reshape(8, 3).tolist()]


def test_the_density_of_latents_is_drawn_on_the_same_shades(tmp_path: Path) -> None:
    torch.manual_seed(0)
    wide, narrow = torch.randn(4000, 2), torch.randn(4000, 2) / 20
    save_latents(tmp_path / "latents.png", {"plain": wide, "other": narrow})
    sheet = np.asarray(Image.open(tmp_path / "latents.png").convert("L")).astype(int)
    left, right = (half[half < 250] for half in (sheet[60:-60, 60:480], sheet[60:-60, 560:980]))  # no paper
    assert right.max() > left.max() + 20  # a denser spot is brighter, so the scale is shared
    assert (left > 30).mean() > 3 * (right > 30).mean()


def test_curves_leave_gaps_where_a_lazy_penalty_was_not_due(tmp_path: Path) -> None:
    records = [
        {
            "step": step,
            "losses": {"discriminator": {"adversarial": 1.0} | ({"r1": 0.5} if step % 2 == 0 else {})},
            "scores": {"real": 0.0},
        }
        for step in range(1, 6)
    ]
    save_curves(tmp_path / "curves.png", records, {}, 4)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_small_penalty_is_no_flat_line_and_the_legends_lie_below_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(pictures, "save_figure", lambda path, figure: drawn.append(figure))
    for small in (0.01, 0.5):
        records = [
            {"step": step, "losses": {"d": {"adversarial": 1.0 + step, "r1": small / step}}, "scores": {"real": 0.0}}
            for step in range(1, 6)
        ]
        save_curves(tmp_path / "curves.png", records, {}, 4)
    for figure, scale in zip(drawn, ("symlog", "linear"), strict=True):
        figure.draw_without_rendering()
        losses = figure.axes[0]
        assert losses.get_yscale() == scale
        for axes in figure.axes:
            assert axes.get_legend().get_window_extent().y1 < axes.bbox.y0
    heights = drawn[0].axes[0].transData.transform([(1, 0.0), (1, 0.01), (1, 6.0)])[:, 1]
    assert (heights[1] - heights[0]) / (heights[2] - heights[0]) > 0.1


def test_curves_show_gradient_norms_and_rates_that_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[dict[str, list[str]]] = []
    monkeypatch.setattr(
        "gan_cli.runs.pictures.save_figure",
        lambda path, figure: drawn.append(
            {axes.get_title(): [line.get_label() for line in axes.lines] for axes in figure.axes}
        ),
    )
    earlier = {"step": 1, "losses": {"generator": {"adversarial": 2.0}}, "scores": {"real": 0.0}}
    for rates in ([], [0.1, 0.1], [0.1, 0.2]):
        numbers = [{"rates": {"generator": rate}, "gradient_norms": {"generator": 3.0}} for rate in rates]
        save_curves(tmp_path / "curves.png", [earlier, *(earlier | {"step": 2} | new for new in numbers)], {}, 4)
    old, constant, changing = drawn
    assert list(old) == ["losses", "mean discriminator score"]
    assert constant == old | {"gradient norm": ["generator"]}
    assert changing == constant | {"learning rate": ["generator"]}
