"""Damaged and hostile images, archives, weights and caches: read as far as they are whole, or refused in one line."""

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from safetensors.torch import save_file

from gan_cli.data import TrainingSet
from gan_cli.datasets import ImageFolder
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.metrics.feature_metrics import FeatureMetrics
from gan_cli.metrics.inception import InceptionExtractor
from gan_cli.metrics.mode_metrics import ModeMetrics

from ..conftest import EVERY_LABEL
from . import Fault
from .mutate import damaged, mutated

SECONDS = 60  # within which everything here ends
METRICS = FeatureMetrics(
    extractor=ClassifierExtractor(name="digits_v2"),
    also=[],
    names=["fid"],
    inception_score_splits=1,
    kid_subsets=1,
    kid_subset_size=2,
    cas_seeds=1,
    cas_steps=1,
    batch_size=64,
)


def dataset(root: Path, **settings: object) -> ImageFolder:
    given = {"image_size": 8, "channels": 3, "crop": "center", "crop_size": None, "resize": "lanczos"}
    given |= {"horizontal_flip": False, "dequantize": False, "on_corrupt": "skip", "limit": None, "subfolder": None}
    given |= {"max_pixels": 2_000_000, "verify": False, "metrics": ModeMetrics(max_deviations=3.0)} | EVERY_LABEL
    return ImageFolder(root=str(root), **(given | settings))


@contextlib.contextmanager
def own_cache(folder: Path) -> Iterator[Path]:
    """An own cache folder, silence, and an end: nothing may hang."""
    before, started = os.environ.get("GAN_CLI_CACHE"), time.monotonic()
    os.environ["GAN_CLI_CACHE"] = str(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield folder
    finally:
        if before is None:
            del os.environ["GAN_CLI_CACHE"]
        else:
            os.environ["GAN_CLI_CACHE"] = before
    assert time.monotonic() - started < SECONDS


def load(data: ImageFolder) -> TrainingSet | None:
    """The images, or None if they are refused in one line; anything else but our own error is a fault."""
    try:
        return data.load()
    except ValueError as error:
        refusal = error
    assert type(refusal) is ValueError, repr(refusal)
    assert str(refusal).isprintable(), repr(refusal)
    return None


def picture(rng: random.Random) -> Image.Image:
    mode = rng.choice(("RGB", "L", "RGBA", "P", "I;16", "CMYK", "1", "LA"))
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    return Image.new(mode, (24, 24), 1000) if mode == "I;16" else image.convert(mode)


def encoded(rng: random.Random) -> tuple[str, bytes]:
    """The ending and the bytes of a small image in one of the formats, with metadata."""
    image = picture(rng)
    exif = Image.Exif()
    exif[0x0112] = rng.randrange(10)
    ways: list[tuple[str, str, dict[str, object]]] = [
        ("png", "PNG", {"exif": exif, "icc_profile": rng.randbytes(100), "interlace": 1}),
        ("jpg", "JPEG", {"exif": exif, "progressive": rng.random() < 0.5, "icc_profile": rng.randbytes(100)}),
        ("tif", "TIFF", {"compression": rng.choice((None, "tiff_lzw", "tiff_adobe_deflate", "packbits"))}),
        ("webp", "WEBP", {"lossless": rng.random() < 0.5, "exif": exif.tobytes()}),
        ("webp", "WEBP", {"save_all": True, "append_images": [picture(rng).convert("RGB")]}),
        ("png", "PNG", {"save_all": True, "append_images": [image]}),
        ("bmp", "BMP", {}),
        ("ppm", "PPM", {}),
    ]
    ending, name, settings = rng.choice(ways)
    file = io.BytesIO()
    with contextlib.suppress(OSError, ValueError):  # not every format has every mode
        image.save(file, name, **settings)
        return ending, file.getvalue()
    file = io.BytesIO()
    image.convert("RGB").save(file, name, **settings)
    return ending, file.getvalue()


def rechecked_png(content: bytes, rng: random.Random) -> bytes:
    """One chunk is damaged, and its checksum fits."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    number = rng.randrange(len(chunks))
    kind, data = chunks[number]
    chunks[number] = (rng.choice((kind, kind, b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf")), damaged(data, rng))
    out = content[:8]
    for kind, data in chunks:
        out += len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    return out


def damaged_image(folder: Path, rng: random.Random) -> None:
    """The whole image beside it is what it is without it."""
    ending, content = encoded(rng)
    spoilt = rechecked_png(content, rng) if ending == "png" and rng.random() < 0.5 else damaged(content, rng)
    images = folder / "images"
    images.mkdir()
    Image.fromarray(np.full((24, 24, 3), 77, dtype=np.uint8)).save(images / "z.png")
    (images / f"a.{ending}").write_bytes(spoilt)
    with own_cache(folder / "cache"):
        table = load(dataset(images))
    assert table is not None
    assert len(table) in (1, 2)
    assert (table.values[-1] == 77).all()


def archived(ending: str, files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    if ending.startswith("zip"):
        method = {"zip": zipfile.ZIP_DEFLATED, "zip.bz2": zipfile.ZIP_BZIP2, "zip.xz": zipfile.ZIP_LZMA}[ending]
        with zipfile.ZipFile(packed, "w", method) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
        return packed.getvalue()
    with tarfile.open(fileobj=packed, mode=f"w:{ending[4:]}", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(content), {"comment": "x" * 300}
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def rechecked_tar(content: bytes, rng: random.Random) -> bytes:
    """A field of one header is replaced, and its checksum fits."""
    work = bytearray(content)
    start = 512 * rng.randrange(len(work) // 512)
    fields = {124: 12, 156: 1, 157: 100, 0: 100, 386: 24, 482: 1, 483: 12}
    place, size = rng.choice(list(fields.items()))
    values = (rng.randbytes(size), b"\xff" * size, b"\x80" + b"\x7f" * size, b"7" * size, b"x", b"g", b"L", b"K", b"S")
    value = rng.choice(values)[:size]
    work[start + place : start + place + len(value)] = value
    work[start + 148 : start + 156] = b" " * 8
    work[start + 148 : start + 156] = f"{sum(work[start : start + 512]):06o}\0 ".encode()
    return bytes(work)


def damaged_archive(folder: Path, rng: random.Random) -> None:
    images = [encoded(rng) for _ in range(3)]
    files = {f"{'class/' * (number % 2)}{number}.{ending}": content for number, (ending, content) in enumerate(images)}
    ending = rng.choice(("zip", "zip.bz2", "zip.xz", "tar.", "tar.gz", "tar.xz", "tar.bz2"))
    content = archived(ending, files)
    if ending == "tar." and rng.random() < 0.5:
        spoilt = rechecked_tar(content, rng)
    elif ending.startswith("zip") and rng.random() < 0.5:  # the directory at the end
        spoilt = content[:-300] + damaged(content[-300:], rng)
    else:
        spoilt = damaged(content, rng)
    path = folder / "archive"
    path.write_bytes(spoilt)
    before = sorted(folder.rglob("*"))
    with own_cache(folder / "cache"):
        load(dataset(path))
    shutil.rmtree(folder / "cache", ignore_errors=True)
    assert sorted(folder.rglob("*")) == before  # nothing is unpacked


def prepared_images(folder: Path) -> tuple[ImageFolder, Path, TrainingSet]:
    """Ten images, prepared, where that is, and a copy of what they are."""
    images = folder / "images"
    for number in range(10):
        (images / f"class {number % 2}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"class {number % 2}" / f"{number}.png")
    data = dataset(images, verify=True)
    table = data.load()
    (place,) = (path for path in (folder / "cache" / "datasets").iterdir() if path.is_dir())
    return data, place, TrainingSet(table.values.clone(), table.labels.clone(), digest=table.digest)


def damaged_cache(name: str) -> Callable[[Path, random.Random], None]:
    def run(folder: Path, rng: random.Random) -> None:
        with own_cache(folder / "cache"):
            data, place, expected = prepared_images(folder)
            path = place / name
            path.write_bytes(damaged(path.read_bytes(), rng))
            found = data.load()
        assert torch.equal(found.values, expected.values)
        assert torch.equal(found.labels, expected.labels)

    return run


def edited_manifest(folder: Path, rng: random.Random) -> None:
    """Whatever the manifest says, pixels and labels are what was prepared."""
    with own_cache(folder / "cache"):
        data, place, expected = prepared_images(folder)
        path = place / "manifest.json"
        content = mutated(json.loads(path.read_text()), rng)
        path.write_text(json.dumps(content))
        found = data.load()
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.labels, expected.labels)


def damaged_features(folder: Path, rng: random.Random) -> None:
    generator = torch.Generator().manual_seed(rng.randrange(2**32))
    table = TrainingSet(
        torch.randint(0, 256, (24, 1, 16, 16), generator=generator, dtype=torch.uint8), torch.full((24,), -1)
    )
    extractor = METRICS.extractor.load()
    with own_cache(folder / "cache"):
        expected = METRICS.real_features(extractor, table)
        (path,) = (folder / "cache" / "features").glob("*.safetensors")
        path.write_bytes(damaged(path.read_bytes(), rng))
        found = METRICS.real_features(extractor, table)
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.logits, expected.logits)


def damaged_weights(folder: Path, rng: random.Random) -> None:
    """Under its own hash, as a config from elsewhere could give it."""
    path = folder / "weights.pth"
    state = {name: torch.randn(3, 4) for name in ("Conv2d_1a_3x3.conv.weight", "fc.weight", "fc.bias")}
    if rng.random() < 0.2:
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=rng.random() < 0.7)
    path.write_bytes(damaged(path.read_bytes(), rng))
    extractor = InceptionExtractor(
        weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), otherwise=None
    )
    with own_cache(folder / "cache"), pytest.raises(ValueError, match="does not hold Inception weights") as refusal:
        extractor.load()
    assert str(refusal.value).isprintable()


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 24 24
%%EndComments
(canary) (w) file closefile
{} loop
%%EOF
"""


def eps_named_png(folder: Path, rng: random.Random) -> None:
    """A Ghostscript that leaves a trace is first on the path, and is not started."""
    canary, images = folder / "canary", folder / "images"
    programs = folder / "programs"
    programs.mkdir()
    for name in ("gs", "gswin32c", "gswin64c"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {canary}\n")
        (programs / name).chmod(0o755)
    images.mkdir()
    name = f"a.{rng.choice(('png', 'jpg', 'tif', 'webp', 'bmp', 'ppm', 'PNG'))}"
    (images / name).write_bytes(EPS)
    with zipfile.ZipFile(folder / "images.zip", "w") as zipped:
        zipped.write(images / name, name)
    path, known = os.environ["PATH"], EpsImagePlugin.gs_binary
    os.environ["PATH"], EpsImagePlugin.gs_binary = f"{programs}{os.pathsep}{path}", None
    try:
        for root in (images, folder / "images.zip"):
            with own_cache(folder / "cache"), pytest.raises(ValueError, match=f"1 of 1 image files .*{name}"):
                dataset(root, on_corrupt="error").load()
    finally:
        os.environ["PATH"], EpsImagePlugin.gs_binary = path, known
    assert not canary.exists()


def full_disk(folder: Path, rng: random.Random) -> None:
    """A limit on the size of files stands for it; nothing is left, and a second try with space succeeds."""
    images = folder / "images"
    images.mkdir()
    for number in range(4):
        Image.new("RGB", (24, 24), (number, 0, 0)).save(images / f"{number}.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with own_cache(folder / "cache"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randrange(4 * 3 * 64 * 64), hard))
        try:
            table = load(dataset(images, image_size=64))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert table is None
        assert not [path for path in (folder / "cache" / "datasets").iterdir() if path.is_dir()]
        whole = load(dataset(images, image_size=64))
        assert whole is not None
        assert len(whole) == 4


PREPARE = """
import sys
from pathlib import Path
from tests.faults.images import dataset
print("ready", flush=True)
dataset(Path(sys.argv[1])).load()
"""


def killed_while_preparing(folder: Path, rng: random.Random) -> None:
    """The next start prepares what it would have without it, and removes what was left."""
    images = folder / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    for number in range(40):
        Image.fromarray(pixels + np.uint8(number)).save(images / f"{number}.png", compress_level=1)
    with own_cache(folder / "cache"):
        process = subprocess.Popen([sys.executable, "-c", PREPARE, str(images)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.random() * 0.5)
        process.kill()
        process.wait()
        found = load(dataset(images, verify=True))
        assert found is not None
        left = list((folder / "cache" / "datasets").glob(".*.partial"))
    with own_cache(folder / "another"):
        expected = load(dataset(images))
    assert expected is not None
    assert torch.equal(found.values, expected.values)
    assert not left


CASES = [
    Fault("damaged image file", damaged_image, times=20_000, quick=25),
    Fault("damaged archive", damaged_archive, times=20_000, quick=25),
    Fault("damaged pixels in the cache", damaged_cache("pixels.u8"), times=1_000, quick=3),
    Fault("damaged labels in the cache", damaged_cache("labels.npy"), times=1_000, quick=3),
    Fault("damaged manifest in the cache", damaged_cache("manifest.json"), times=2_000, quick=5),
    Fault("edited manifest in the cache", edited_manifest, times=4_000, quick=10),
    Fault("damaged features in the cache", damaged_features, times=4_000, quick=10),
    Fault("damaged Inception weights", damaged_weights, times=2_000, quick=5),
    Fault("EPS under the name of an image", eps_named_png, times=20, quick=2),
    Fault("full disk while preparing images", full_disk, times=40, quick=2),
    Fault("kill while preparing images", killed_while_preparing, times=40, quick=0),
]
