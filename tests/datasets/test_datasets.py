"""Real images: ranges, shapes, pixel values, and what is said of data that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from gan_cli.datasets import MNIST, Digits, Grid, ImageFolder, Ring
from gan_cli.metrics.mode_metrics import ModeMetrics
from gan_cli.table import decode, encode

METRICS = ModeMetrics(max_deviations=3.0)  # no data set looks at its metrics while it loads


def folder(root: Path, size: int = 16, channels: int = 3) -> ImageFolder:
    return ImageFolder(root=str(root), image_size=size, channels=channels, metrics=METRICS)


def test_bytes_survive_decoding_and_encoding() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    images = decode(values)
    assert (images.min(), images.max()) == (-1, 1)
    assert torch.equal(encode(images, torch.uint8), values)
    assert encode(torch.tensor([-7.0, 7.0]).reshape(1, 1, 1, 2), torch.uint8).flatten().tolist() == [0, 255]


def test_digits_are_the_embedded_images() -> None:
    table = Digits(image_size=8, metrics=METRICS).load()
    original = torch.tensor(load_digits().images)
    assert table.values.shape == (1797, 1, 8, 8)
    torch.testing.assert_close(table.values[:, 0].double() / 255 * 16, original, atol=16 / 255 / 2, rtol=0)
    assert table.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    larger = Digits(image_size=16, metrics=METRICS).load()
    assert larger.image_shape == (1, 16, 16)
    assert larger.values.float().mean().item() == pytest.approx(table.values.float().mean().item(), rel=0.02)


def test_ring_and_grid_are_where_the_papers_put_them() -> None:
    ring = Ring(num_modes=8, radius=2.0, std=0.001, points_per_mode=12500, metrics=METRICS)
    torch.testing.assert_close(ring.centers().norm(dim=1), torch.full((8,), 2.0))
    torch.testing.assert_close(ring.centers()[1], torch.tensor([2**0.5, 2**0.5]))
    grid = Grid(side=5, spacing=2.0, std=0.0025, points_per_mode=4000, metrics=METRICS)
    assert sorted(map(tuple, grid.centers().tolist())) == [
        (2.0 * i, 2.0 * j) for i in range(-2, 3) for j in range(-2, 3)
    ]
    three = Grid(side=3, spacing=2.0, std=0.05**0.5, points_per_mode=2000, metrics=METRICS)
    table = three.load()
    assert table.values.shape == (18000, 2, 1, 1)
    offsets = table.values.flatten(1) - three.centers()[table.labels]
    assert offsets.var().item() == pytest.approx(0.05, rel=0.03)
    assert torch.equal(three.load().values, table.values)


def test_a_folder_with_class_folders_is_labelled(photographs: Path) -> None:
    table = folder(photographs).load()
    assert table.values.shape == (24, 3, 16, 16)
    assert table.labels.tolist() == [0] * 12 + [1] * 12  # flower, temple


def test_a_folder_without_class_folders_is_not(photographs: Path) -> None:
    assert folder(photographs / "temple").load().labels.tolist() == [-1] * 12
    (photographs / "temple" / "0.png").rename(photographs / "0.png")
    assert set(folder(photographs).load().labels.tolist()) == {-1}


def test_images_are_cropped_at_the_centre_and_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 128), dtype=np.uint8)
    stripes[:, ::2] = 255
    stripes[:, :32], stripes[:, 96:] = 7, 7  # the margins that the crop removes
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    values = folder(tmp_path, size=8, channels=1).load().values.float()
    assert values.shape == (1, 1, 8, 8)
    assert (values[..., 1:-1] - 127.5).abs().max() < 12  # aliasing would keep 0 and 255


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 100, (100, 100, 100)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 0x8000, (128, 128, 128)),
        ("P", 0, (0, 0, 0)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_every_pixel_format_becomes_rgb(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    image = Image.new("RGB", (8, 8)).convert("P") if mode == "P" else Image.new(mode, (8, 8), colour)
    image.save(tmp_path / ("image.tiff" if mode == "CMYK" else "image.png"))
    assert tuple(folder(tmp_path, size=8).load().values[0, :, 4, 4].tolist()) == expected


def test_exif_rotation_is_honoured(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "image.png", exif=exif)
    values = folder(tmp_path, size=8, channels=1).load().values[0, 0]
    assert (values[0, 0], values[7, 0]) == (0, 255)


def test_unreadable_files_are_all_named(photographs: Path) -> None:
    whole = (photographs / "temple" / "0.png").read_bytes()
    (photographs / "temple" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photographs / "temple" / "text.jpg").write_text("not an image")
    (photographs / "temple" / "empty.png").touch()
    with pytest.raises(ValueError, match="3 of 27 image files cannot be read") as refusal:
        folder(photographs).load()
    assert all(name in str(refusal.value) for name in ("cut.png", "text.jpg", "empty.png"))


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"large\.png"):
        folder(tmp_path).load()


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        folder(tmp_path / "absent").load()
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="holds no image files"):
        folder(tmp_path).load()


def write_idx(path: Path, array: np.ndarray) -> None:
    """The format of MNIST's files: two zero bytes, the type (8: bytes), the rank, each size, then the data."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28))
    for split in ("train", "t10k"):
        write_idx(raw / f"{split}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{split}-labels-idx1-ubyte", np.arange(5))
    table = MNIST(root=str(tmp_path), split="train", image_size=28, download=False, metrics=METRICS).load()
    assert torch.equal(table.values[:, 0], torch.from_numpy(pixels).to(torch.uint8))
    assert table.labels.tolist() == [0, 1, 2, 3, 4]
    larger = MNIST(root=str(tmp_path), split="test", image_size=32, download=False, metrics=METRICS).load()
    assert larger.values.shape == (5, 1, 32, 32)


def test_a_failed_download_says_where_to_put_the_files_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    mnist = MNIST(root=str(tmp_path / "data"), split="train", image_size=32, download=True, metrics=METRICS)
    with pytest.raises(ValueError, match=r"could not be downloaded \(.*put the four unpacked MNIST files"):
        mnist.load()
    assert not (tmp_path / "data").exists()
