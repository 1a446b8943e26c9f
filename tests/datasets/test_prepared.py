"""Images from disk: pixel values, what is prepared when, and what is said of data that cannot be used."""

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from scipy.io import savemat

from gan_cli.config.build import load_training_set
from gan_cli.datasets import ImageFolder, TorchvisionSet
from gan_cli.datasets.prepared import PreparedDataset
from gan_cli.datasets.source import FolderSource, image_files
from gan_cli.files import cache_folder, sha256
from gan_cli.metrics.mode_metrics import ModeMetrics
from gan_cli.runs.summary import protocol
from gan_cli.work import alone, listening

from ..conftest import EVERY_LABEL

METRICS = ModeMetrics(max_deviations=3.0)  # no data set looks at its metrics while it loads
SETTINGS: dict[str, Any] = {
    "image_size": 16,
    "channels": 3,
    "crop": "center",
    "crop_size": None,
    "resize": "lanczos",
    "horizontal_flip": False,
    "dequantize": False,
    "on_corrupt": "error",
    "limit": None,
    "max_pixels": 89_478_485,
    "verify": False,
    "metrics": METRICS,
    **EVERY_LABEL,
}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_CLI_CACHE", str(tmp_path_factory.mktemp("cache")))


def folder(root: Path, size: int = 16, **settings: Any) -> ImageFolder:
    return ImageFolder(root=str(root), **(SETTINGS | {"subfolder": None, "image_size": size} | settings))


def torchvision_set(name: str, root: Path, **settings: Any) -> TorchvisionSet:
    given = {"split": "train", "download": False, "resize": "bilinear"} | settings
    return TorchvisionSet(name=name, root=str(root), **(SETTINGS | given))


def prepared() -> list[Path]:
    return sorted(path for path in (cache_folder() / "datasets").glob("*") if path.is_dir())


def test_an_array_is_read_as_the_files_of_its_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "samples.npz", pixels)
    np.save(tmp_path / "samples.npy", pixels)
    (tmp_path / "files").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "files" / f"{number}.png")
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for name in ("samples.npz", "samples.npy", "files"):
        assert torch.equal(folder(tmp_path / name).load().values, expected)
    assert folder(tmp_path / "samples.npy", size=8, channels=1).load().values.shape == (5, 1, 8, 8)
    np.savez(tmp_path / "other.npz", images=pixels)
    with pytest.raises(ValueError, match=r"other.npz holds no bytes \[images, height, width, 1 or 3\] as arr_0"):
        folder(tmp_path / "other.npz").load()


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


def test_what_is_prepared_is_found_again_and_mapped(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder(photographs).load()
    manifest = json.loads((prepared()[0] / "manifest.json").read_text())
    assert manifest["shape"] == [24, 3, 16, 16]
    assert manifest["sha256"] == first.digest
    monkeypatch.setattr(PreparedDataset, "decode", lambda *_: pytest.fail("an image was decoded again"))
    again = folder(photographs).load()
    assert torch.equal(again.values, first.values)
    assert torch.equal(again.labels, first.labels)
    maps = Path("/proc/self/maps")
    if maps.is_file():
        assert "pixels.u8" in maps.read_text()  # mapped from the file, not read into memory


def test_a_set_larger_than_memory_is_trained_on_in_place(photographs: Path) -> None:
    """A file with holes stands for it: five times the machine's memory, of which two batches are touched."""
    small = folder(photographs, limit=1, size=1024)
    small.load()
    (place,) = prepared()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    count = 5 * memory // (3 * 1024 * 1024)
    os.truncate(place / "pixels.u8", count * 3 * 1024 * 1024)
    np.save(place / "labels.npy", np.zeros(count, dtype=np.int64))
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["shape"][0] = count
    manifest["blocks"] += [hashlib.sha256(bytes(3 * 1024 * 1024)).hexdigest()[:16]] * (count - 1)
    manifest["labels_sha256"] = sha256(place / "labels.npy")
    (place / "manifest.json").write_text(json.dumps(manifest))
    table = small.load()
    assert table.values.nbytes > 4 * memory
    images = table.batch(torch.tensor([0, count - 1])).images
    assert images.shape == (2, 3, 1024, 1024)
    assert (images[1] == -1).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 8},
        {"channels": 1},
        {"crop": "none"},
        {"crop_size": 40},
        {"resize": "box"},
        {"limit": 7},
    ],
)
def test_another_size_crop_or_filter_is_prepared_apart(photographs: Path, settings: dict[str, Any]) -> None:
    plain = folder(photographs).load()
    other = folder(photographs, **settings).load()
    assert len(prepared()) == 2
    assert plain.values.shape != other.values.shape or not torch.equal(plain.values, other.values)
    assert torch.equal(folder(photographs).load().values, plain.values)


def test_training_settings_do_not_prepare_again(photographs: Path) -> None:
    folder(photographs).load()
    folder(photographs, horizontal_flip=True, dequantize=True, on_corrupt="skip").load()
    assert len(prepared()) == 1


def test_a_changed_file_is_noticed(photographs: Path) -> None:
    before = folder(photographs).load()
    Image.new("RGB", (50, 50), "red").save(photographs / "temple" / "0.png")
    after = folder(photographs).load()
    assert not torch.equal(before.values, after.values)
    Image.new("RGB", (50, 50), "blue").save(photographs / "temple" / "new.png")
    assert len(folder(photographs).load()) == 25


@pytest.mark.parametrize("damage", ["truncate", "no labels", "manifest"])
def test_what_cannot_be_trusted_is_prepared_again(photographs: Path, damage: str) -> None:
    before = folder(photographs).load().values.clone()
    (place,) = prepared()
    if damage == "truncate":
        os.truncate(place / "pixels.u8", 100)
    elif damage == "no labels":
        (place / "labels.npy").unlink()
    else:
        (place / "manifest.json").write_text("{}")
    with pytest.warns(UserWarning, match="preparing images again"):
        assert torch.equal(folder(photographs).load().values, before)
    assert prepared() == [place]


@pytest.mark.slow
def test_two_processes_may_prepare_at_once(photographs: Path) -> None:
    code = (
        "import sys; from tests.datasets.test_prepared import folder; from pathlib import Path;"
        "print(folder(Path(sys.argv[1])).load().digest)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(photographs)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    digests = [process.communicate(timeout=120)[0] for process in both]
    assert digests[0] == digests[1] != ""
    assert len(prepared()) == 1


SLOWLY = """
import os, sys, time
from pathlib import Path
from gan_cli.datasets.prepared import PreparedDataset
from gan_cli.work import listening
from tests.datasets.test_prepared import folder
decode, prepare, told = PreparedDataset.decode, PreparedDataset.prepare, []
def tell(text):
    told.append(text)
    if text.startswith("waiting"):
        Path(f"waiting-{os.getpid()}").touch()
def slow(*given, **named):
    time.sleep(float(sys.argv[2]))
    return decode(*given, **named)
def seen(*given):
    Path(f"prepared-by-{os.getpid()}").touch()
    prepare(*given)
PreparedDataset.decode, PreparedDataset.prepare = slow, seen
with listening(tell):
    digest = folder(Path(sys.argv[1])).load().digest
print(digest, *told, sep="\\n")
"""


@pytest.mark.slow
def test_one_of_several_prepares_and_if_it_is_killed_another_takes_over(photographs: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def start(seconds: float) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", SLOWLY, str(photographs), str(seconds)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)

    def begun() -> list[Path]:
        return sorted(tmp_path.glob("prepared-by-*"))

    first = start(60.0)
    wait_for(lambda: bool(begun()), 120)
    others = [start(0.02), start(0.02), start(0.02)]
    wait_for(lambda: len(list(tmp_path.glob("waiting-*"))) == 3, 120)
    assert len(begun()) == 1
    first.kill()
    first.communicate()
    said = [process.communicate(timeout=120)[0].splitlines() for process in others]
    assert len(begun()) == 2, "one of them prepares"
    assert len({lines[0] for lines in said}) == 1
    waiting = "waiting for another process that prepares the same images, 0 so far, "
    assert all(any(line.startswith(waiting) for line in lines) for lines in said)
    assert len(prepared()) == 1


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_a_killed_process_left_does_no_harm(photographs: Path) -> None:
    expected = folder(photographs).load().values.clone()
    (place,) = prepared()
    leftover = place.with_name(f".{place.name}.partial")
    place.rename(leftover)
    (leftover / "pixels.u8").write_bytes(b"half")
    assert torch.equal(folder(photographs).load().values, expected)
    assert not leftover.exists()


def test_a_full_disk_leaves_nothing_and_says_so(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan_cli.datasets.prepared.np.save", full)
    with pytest.raises(ValueError, match=r"No space left.*GAN_CLI_CACHE"):
        folder(photographs).load()
    assert not [path for path in (cache_folder() / "datasets").iterdir() if path.is_dir()]


def test_broken_files_are_left_out_and_counted_if_asked(photographs: Path) -> None:
    (photographs / "temple" / "text.jpg").write_text("not an image")
    with pytest.warns(UserWarning, match="1 broken image files are left out"):
        table = folder(photographs, on_corrupt="skip").load()
    assert len(table) == 24
    assert table.labels.bincount().tolist() == [12, 12]
    with pytest.raises(ValueError, match=r"text\.jpg"):  # what is kept does not hide them
        folder(photographs).load()


def archive(photographs: Path, path: Path) -> Path:
    files = sorted(photographs.rglob("*.png"))
    names = [f"all/{file.relative_to(photographs)}" for file in files]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for file, name in zip(files, names, strict=True):
                zipped.write(file, name)
    else:
        with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as tar:
            for file, name in zip(files, names, strict=True):
                tar.add(file, name)
    return path


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.tar.xz", "photos.tar.gz"])
def test_an_archive_is_read_in_place(photographs: Path, tmp_path: Path, name: str) -> None:
    path = archive(photographs, tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    table = folder(path, subfolder="all").load()
    expected = folder(photographs).load()
    assert torch.equal(table.values, expected.values)
    assert torch.equal(table.labels, expected.labels)
    assert sorted(tmp_path.rglob("*")) == before
    few = folder(path, subfolder="all", limit=5).load()
    assert torch.equal(few.values, expected.values[[0, 6, 12, 17, 23]])
    with pytest.raises(ValueError, match="holds no image files below absent"):
        folder(path, subfolder="absent").load()


def test_an_archive_with_foreign_names_writes_nothing(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, format="PNG")
    (tmp_path / "inside").mkdir()
    with tarfile.open(tmp_path / "inside" / "evil.tar", "w") as tar:
        for name in ("../../escaped.png", "/absolute.png"):
            member = tarfile.TarInfo(name)
            member.size = len(picture.getvalue())
            tar.addfile(member, io.BytesIO(picture.getvalue()))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    before = sorted(tmp_path.rglob("*"))
    assert len(folder(tmp_path / "inside" / "evil.tar").load()) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_a_member_that_claims_too_much_is_broken(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(photographs, tmp_path / "photos.zip")
    monkeypatch.setattr("gan_cli.datasets.source.MAX_FILE_BYTES", 100)
    with pytest.raises(ValueError, match="24 of 24 image files cannot be read"):
        folder(path).load()


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive")
    with pytest.raises(ValueError, match="neither a folder nor a zip or tar file"):
        folder(tmp_path / "notes.txt").load()
    whole = tmp_path / "cut.zip"
    with zipfile.ZipFile(whole, "w") as zipped:
        zipped.writestr("a.png", b"0" * 1000)
    whole.write_bytes(whole.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"cut\.zip"):
        folder(whole).load()


def test_a_limit_takes_from_the_whole_set(photographs: Path) -> None:
    table = folder(photographs, limit=4).load()
    assert table.labels.tolist() == [0, 0, 1, 1]
    assert len(folder(photographs, limit=1000).load()) == 24


def test_a_crop_of_so_many_pixels_and_none_at_all(tmp_path: Path) -> None:
    image = Image.new("L", (40, 20))
    image.paste(255, (15, 5, 25, 15))
    image.save(tmp_path / "image.png")
    square = folder(tmp_path, size=10, channels=1, crop_size=10).load().values
    assert (square == 255).all()
    stretched = folder(tmp_path, size=20, channels=1, crop="none", resize="box").load().values[0, 0]
    assert stretched[10].tolist() == [0] * 7 + [128] + [255] * 4 + [128] + [0] * 7  # 15 to 25 of 40, halved
    with pytest.raises(ValueError, match="cannot be read"):
        folder(tmp_path, size=10, crop_size=30).load()


def test_flips_mirror_about_half_and_noise_stays_within_a_step(photographs: Path) -> None:
    flipping = folder(photographs, horizontal_flip=True)
    images = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(400, 1, 1, 1) / 32 - 1
    torch.manual_seed(0)
    flipped = flipping.augment(images)
    mirrored = (flipped == images.flip(-1)).all(dim=(1, 2, 3))
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    assert 160 < mirrored.sum().item() < 240
    noise = folder(photographs, dequantize=True).augment(images) - images
    assert 0 <= noise.min().item() < 0.0005
    assert 0.0073 < noise.max().item() <= 1 / 128 + 1e-6
    assert torch.equal(folder(photographs).augment(images), images)


def test_the_protocol_names_crop_and_filter(photographs: Path) -> None:
    assert folder(photographs).protocol == {
        "dataset": "image_folder",
        "image_size": 16,
        "resize": "center crop, lanczos, antialiased",
    }
    assert folder(photographs, crop_size=30, limit=5).protocol["resize"] == "center crop 30, lanczos, antialiased"
    assert folder(photographs, limit=5).protocol["limit"] == 5


def test_the_digest_says_which_images_were_loaded_wherever_they_are(photographs: Path, tmp_path: Path) -> None:
    def stated(root: Path) -> dict[str, str | int | float]:
        found = folder(root)
        return protocol(found, load_training_set(found), None, 10, [0])

    shutil.copytree(photographs, tmp_path / "elsewhere")
    shutil.copytree(photographs, tmp_path / "changed" / "photographs")
    Image.new("RGB", (64, 48), 7).save(tmp_path / "changed" / "photographs" / "temple" / "3.png")
    assert stated(photographs) == stated(tmp_path / "elsewhere")
    changed = stated(tmp_path / "changed" / "photographs")
    assert {key for key, value in stated(photographs).items() if value != changed[key]} == {"images_sha256"}


def write_idx(path: Path, array: np.ndarray) -> None:
    """The format of MNIST's files: two zero bytes, the type (8: bytes), the rank, each size, then the data."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(root: Path, *, train: int, test: int) -> np.ndarray:
    """Random images with the labels 0 to 9 in turn; returns those of the training split."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (train + test, 28, 28))
    for split, part in (("train", pixels[:train]), ("t10k", pixels[train:])):
        write_idx(raw / f"{split}-images-idx3-ubyte", part)
        write_idx(raw / f"{split}-labels-idx1-ubyte", np.arange(len(part)) % 10)
    return pixels[:train]


def test_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    pixels = write_mnist(tmp_path, train=5, test=5)
    table = torchvision_set("mnist", tmp_path, image_size=28, channels=1).load()
    assert torch.equal(table.values[:, 0], torch.from_numpy(pixels).to(torch.uint8))
    assert table.labels.tolist() == [0, 1, 2, 3, 4]
    larger = torchvision_set("mnist", tmp_path, image_size=32, channels=1, split="test").load()
    assert larger.values.shape == (5, 1, 32, 32)


def test_cifar_is_read_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.CIFAR10._check_integrity", lambda _: True)
    monkeypatch.setattr("torchvision.datasets.CIFAR10._load_meta", lambda _: None)
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    for number in range(1, 6):
        content = {"data": pixels.reshape(2, -1), "labels": [number, 0]}
        (base / f"data_batch_{number}").write_bytes(pickle.dumps(content))
    table = torchvision_set("cifar10", tmp_path, image_size=32).load()
    assert torch.equal(table.values[:2], torch.from_numpy(pixels))
    assert table.labels.tolist() == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("stl10", "stl10_binary"),
        ("celeba", "img_align_celeba"),
        ("imagenet", "ILSVRC2012_devkit"),
        ("lsun", "lmdb"),
    ],
)
def test_missing_sets_say_what_to_put_where(tmp_path: Path, name: str, wanted: str) -> None:
    splits = {"stl10": "unlabeled", "lsun": "church_outdoor_train"}
    with pytest.raises(ValueError, match=wanted):
        torchvision_set(name, tmp_path / "data", split=splits.get(name, "train")).load()
    assert not (tmp_path / "data").exists()


def test_a_split_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split"):
        torchvision_set("cifar10", tmp_path, split="validation").load()


def test_a_failed_download_says_where_to_put_the_files_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    with pytest.raises(ValueError, match=r"could not be downloaded \(.*put the four unpacked MNIST files"):
        torchvision_set("mnist", tmp_path / "data", download=True).load()
    assert not (tmp_path / "data").exists()


def test_files_are_listed_in_order_and_hashed_as_one_list(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_cli.datasets.source.SORTED_AT_ONCE", 5)
    found = FolderSource(photographs, "dataset.root")
    assert found.files == sorted(image_files(str(photographs)))
    assert len(found.files) == 24
    assert found.identity()["listing"] == hashlib.sha256(repr(found.files).encode()).hexdigest()


def test_another_process_that_prepares_the_same_is_waited_for(photographs: Path) -> None:
    told: list[str] = []
    path = photographs / ".lock"
    lock = FileLock(path)

    def listener(text: str) -> None:
        told.append(text)
        lock.release()

    lock.acquire()
    with listening(listener), alone(path, "prepares the same images"):
        assert told == ["waiting for another process that prepares the same images, 0 s", ""]
    lock.acquire(timeout=0)
    lock.release()


def test_loading_tells_what_it_does(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("gan_cli.work.SECONDS_BETWEEN_CALLS", 1e-9)
    with listening(told.append):
        folder(photographs).load()
        expected = ["listing image files 24", "hashing the list of files 24/24", "naming images 24/24"]
        expected += ["finding the classes of images 24/24", "preparing images 24/24"]
        assert [text for text in told if text in expected] == expected
        told.clear()
        folder(photographs).load()
        assert [text for text in told if text in expected] == expected[:2]


def test_the_other_split_is_what_training_never_sees(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=30, test=10)
    train = torchvision_set("mnist", tmp_path, image_size=28, channels=1, num_labelled=10)
    test = torchvision_set("mnist", tmp_path, image_size=28, channels=1, split="test")
    assert int((train.load().labels >= 0).sum()) == 10
    assert torch.equal(train.held_out().values, test.load().values)
    assert torch.equal(train.held_out().labels, test.load().labels)
    assert torch.equal(test.held_out().values, replace(train, num_labelled=None).load().values)
    carved = replace(train, num_labelled=None, num_held_out=12)
    assert (len(carved.load()), len(carved.held_out())) == (18, 12)
    assert carved.probe().num_images == 18
    assert carved.protocol["num_held_out"] == 12


def test_labels_of_folders_are_held_out_by_class(photographs: Path) -> None:
    dataset = folder(photographs, num_held_out=6)
    assert dataset.held_out().labels.bincount().tolist() == [3, 3]
    assert dataset.load().labels.bincount().tolist() == [9, 9]
    assert dataset.protocol == folder(photographs).protocol | {"num_held_out": 6}
    with pytest.raises(ValueError, match="set dataset.num_held_out"):
        folder(photographs).held_out()


def test_svhn_is_read_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import SVHN

    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_32x32.mat", {"X": pixels, "y": np.arange(1, 21)[:, None] % 10 + 1})
    digests = {split: [*facts[:2], None] for split, facts in SVHN.split_list.items()}  # no check against the real files
    monkeypatch.setattr(SVHN, "split_list", digests)
    dataset = torchvision_set("svhn", tmp_path, image_size=32)
    loaded = dataset.load()
    assert torch.equal(loaded.values, torch.from_numpy(pixels).permute(3, 2, 0, 1))
    assert loaded.labels.unique().tolist() == list(range(10))  # the file's class 10 is the digit 0
    assert len(dataset.held_out()) == 20
    with pytest.raises(ValueError, match="SVHN is not in .*extra_32x32.mat"):
        torchvision_set("svhn", tmp_path, split="extra").probe()
