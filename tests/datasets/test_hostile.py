"""Files that damage, attackers and ordinary life make: bounded memory, no other program, one line that names them."""

import ast
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import types
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

import gan_cli
from gan_cli.datasets import decoding, prepared
from gan_cli.datasets.decoding import Budget, Content, RefusedError
from gan_cli.datasets.prepared import chunks
from gan_cli.files import cache_folder
from gan_cli.leaderboard.page import thumbnail
from gan_cli.runs.pictures import save_side_by_side

from .test_prepared import archive, empty_cache, folder, torchvision_set  # noqa: F401
from .test_prepared import prepared as prepared_folders

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 24\n%%EndComments\n{} loop\n%%EOF\n"


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def test_no_image_is_opened_without_naming_its_formats() -> None:
    calls = {
        f"{path.name}:{node.lineno}": [keyword.arg for keyword in node.keywords]
        for path in Path(gan_cli.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open")
    }
    assert len(calls) >= 3
    assert all("formats" in keywords for keywords in calls.values()), calls


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program that leaves a trace; Pillow starts it for an EPS file, and nothing of ours lets it."""
    programs, canary = tmp_path / "programs", tmp_path / "canary"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {canary}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    monkeypatch.setattr(EpsImagePlugin, "gs_windows_binary", None)
    with pytest.raises(OSError), Image.open(io.BytesIO(EPS)) as image:  # the trap works
        image.load()
    assert canary.exists()
    canary.unlink()
    yield canary
    assert not canary.exists()


def test_pictures_of_a_run_from_elsewhere_are_png(ghostscript: Path, tmp_path: Path) -> None:
    (tmp_path / "grid.png").write_bytes(EPS)
    with pytest.warns(UserWarning, match="left out: .*is not a picture"):
        assert thumbnail(tmp_path / "grid.png") is None
    with pytest.raises(UnidentifiedImageError):
        save_side_by_side(tmp_path / "out.png", {"a": tmp_path / "grid.png"})


class Reading:
    """As much of the package lmdb as is used."""

    Error = OSError

    def __init__(self, content: dict[bytes, bytes]) -> None:
        self.content = content

    def open(self, path: str, **settings: Any) -> "Reading":
        if not Path(path).is_dir():
            raise OSError("no such folder")
        return self

    begin = cursor = lambda self: self

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def iternext(self, keys: bool, values: bool) -> Iterator[bytes]:
        return iter(self.content)

    def get(self, key: bytes) -> bytes:
        return self.content[key]


def celeba(root: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    base = root / "celeba"
    (base / "img_align_celeba").mkdir(parents=True)
    for name, content in files.items():
        (base / "img_align_celeba" / name).write_bytes(content)
    (base / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in files))
    for name, header in (("identity_CelebA", 0), ("list_bbox_celeba", 2), ("list_landmarks_align_celeba", 2)):
        rows = "".join(f"{file} 1\n" for file in files)
        (base / f"{name}.txt").write_text((f"{len(files)}\nx\n" if header else "") + rows)
    (base / "list_attr_celeba.txt").write_text(f"{len(files)}\nx\n" + "".join(f"{file} 1\n" for file in files))
    monkeypatch.setattr("torchvision.datasets.CelebA._check_integrity", lambda _: True)


def imagenet(root: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    (root / "train" / "n01").mkdir(parents=True)
    for name, content in files.items():
        (root / "train" / "n01" / name).write_bytes(content)
    torch.save(({"n01": ("fish",)}, []), root / "meta.bin")


def lsun(root: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    (root / "church_outdoor_train_lmdb").mkdir(parents=True)
    reading = Reading({name.encode(): content for name, content in files.items()})
    monkeypatch.setitem(sys.modules, "lmdb", types.SimpleNamespace(open=reading.open, Error=OSError))


@pytest.mark.parametrize("make", [celeba, imagenet, lsun])
def test_sets_of_torchvision_open_no_other_format_either(
    make: Callable[..., None], ghostscript: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(pixels).save(whole, "PNG")
    make(tmp_path / "data", monkeypatch, {"0.jpg": whole.getvalue(), "1.jpg": EPS})
    split = "church_outdoor_train" if make is lsun else "train"
    with pytest.raises(ValueError, match=r"1 of 2 image files cannot be read.*(1\.jpg|lsun 1)$"):
        torchvision_set(make.__name__, tmp_path / "data", split=split).load()
    with pytest.warns(UserWarning, match="1 broken"):
        table = torchvision_set(make.__name__, tmp_path / "data", split=split, on_corrupt="skip").load()
    assert torch.equal(table.values[0], torch.from_numpy(pixels).permute(2, 0, 1))
    assert table.labels.tolist() == [0 if make is imagenet else -1]


def test_more_pixels_than_allowed_are_refused_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png(64, 64))
    with pytest.raises(ValueError, match=r"large\.png \(64 x 64 = 4,096 pixels, more than dataset.max_pixels=4095\)"):
        folder(tmp_path, max_pixels=4095).load()
    assert len(folder(tmp_path, max_pixels=4096).load()) == 1
    with pytest.raises(ValueError, match="max_pixels=200000000 must be"):
        folder(tmp_path, max_pixels=200_000_000)


LIMIT = 400  # MB
ONE = {"MALLOC_ARENA_MAX": "1"}  # each of a thread's own would count 64 MB
BOMBS = """
import resource, sys
from pathlib import Path
from tests.datasets.test_prepared import folder
from gan_cli.datasets import prepared

prepared.DECODED_BYTES = prepared.WAITING_BYTES = 2**25
folder(Path(sys.argv[1])).load()  # everything is imported
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), resource.RLIM_INFINITY))
for root in sys.argv[3:]:
    print(len(folder(Path(root)).load()))
"""


@pytest.mark.slow
def test_memory_is_bounded_whatever_small_files_unpack_to(tmp_path: Path) -> None:
    """Six images of 25 MB, with transparency, would take 600 MB, and a zip file of forty of 12 MB 480 MB."""
    one, many = tmp_path / "one", tmp_path / "many"
    for root, content, count in ((one, png(8, 8), 1), (many, png(2500, 2500, "RGBA"), 6)):
        root.mkdir()
        for number in range(count):
            (root / f"{number}.png").write_bytes(content)
    large = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(large, "BMP")
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for number in range(40):
            zipped.writestr(f"{number}.bmp", large.getvalue())
    assert (tmp_path / "many.zip").stat().st_size < 2_000_000
    given = [str(one), str(LIMIT * 2**20), str(many), str(tmp_path / "many.zip")]
    done = subprocess.run([sys.executable, "-c", BOMBS, *given], capture_output=True, text=True, env=os.environ | ONE)
    assert done.stdout.split() == ["6", "40"], done.stderr


def test_a_budget_lets_threads_wait_and_one_large_image_through() -> None:
    budget = Budget(10)
    used, most = [0], [0]
    lock = threading.Lock()

    def work(amount: int) -> None:
        with budget.spend(amount):
            with lock:
                used[0] += amount
                most[0] = max(most[0], used[0])
            time.sleep(0.005)
            with lock:
                used[0] -= amount

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (4, 5, 6, 30, 1, 3, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert most[0] in (10, 30)
    budget.close()
    with pytest.raises(RefusedError), budget.spend(1):
        pytest.fail("a closed budget is spent")


def test_members_of_an_archive_are_read_a_few_at_a_time() -> None:
    contents = [Content(lambda: pytest.fail("opened"), size) for size in (2**27, 2**27, 1, 2**28, 1, 1)]
    assert [[item.num_bytes for item in chunk] for chunk in chunks(iter(contents))] == [
        [2**27, 2**27, 1],
        [2**28, 1],
        [1],
    ]


def test_only_a_very_large_jpeg_is_decoded_at_a_fraction_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((640, 400)).save(tmp_path / "image.jpg", quality=95)
    exact = folder(tmp_path, size=50).load().values.clone()
    sizes: list[tuple[int, int]] = []
    opaque = decoding.opaque

    def remember(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return opaque(image)

    monkeypatch.setattr(decoding, "DRAFT_PIXELS", 640 * 400 - 1)
    monkeypatch.setattr(decoding, "opaque", remember)
    for settings in ({"size": 50}, {"size": 60}, {"size": 220}, {"size": 50, "crop_size": 100}):
        shutil.rmtree(cache_folder())
        folder(tmp_path, **settings).load()
    assert sizes == [(160, 100), (320, 200), (640, 400), (640, 400)]
    shutil.rmtree(cache_folder())
    near = folder(tmp_path, size=50).load().values
    assert not torch.equal(near, exact)
    assert (near.float() - exact.float()).abs().mean() < 8


def test_more_than_one_frame_and_odd_metadata_are_no_trouble(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for name, settings in {"a.webp": {"lossless": True}, "a.png": {}, "a.tif": {}}.items():
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **settings)
    text = png(16, 16)
    for kind in (b"zTXt", b"iCCP"):  # 64 MB of text, and of a colour profile, in 64 kB: Pillow unpacks 1 MB
        data = b"a\0\0" + zlib.compress(bytes(2**26), 9)
        chunk = len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        (tmp_path / f"{kind.decode()}.png").write_bytes(text[:33] + chunk + text[33:])
    with pytest.warns(UserWarning, match="2 broken"):
        table = folder(tmp_path, on_corrupt="skip").load()
    assert table.values[:, :, 8, 8].tolist() == [[255, 0, 0]] * 3


def tar_of(*members: tuple[tarfile.TarInfo, bytes], ending: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{ending}", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            member.size = member.size or len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def backwards() -> bytes:
    """A file whose further fields say that it has minus one kilobyte: the reader would come to it again, for ever."""
    return tar_of((member("a.png", pax_headers={"size": "-1536"}), png(8, 8)), (member("b.png"), png(8, 8)))


def long_name() -> bytes:
    """A name of 8 GB, of which the first bytes are there."""
    info = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME)
    info.size = 2**33
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)


def damaged_header() -> bytes:
    content = bytearray(tar_of(*((member(f"{number}.png"), png(8, 8)) for number in range(3))))
    content[1024 + 150] ^= 1  # tarfile would take the second header for the end
    return bytes(content)


@pytest.mark.parametrize("make", [backwards, long_name, damaged_header])
def test_headers_of_a_tar_file_are_not_believed(make: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "photos.tar"
    path.write_bytes(make())
    with pytest.raises(ValueError, match=r"photos\.tar cannot be read: |neither a folder"):
        folder(path).load()


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_cut_archive_is_named(photographs: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"photos.{ending}"
    if ending == "tar.bz2":
        shutil.make_archive(str(tmp_path / "photos"), "bztar", photographs)
    else:
        archive(photographs, path)
    whole = path.read_bytes()
    for part in (0.01, 0.3, 0.9):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(ValueError, match=rf"photos\.{ending} (cannot be read|is neither)"):
            folder(path).load()


def test_members_that_are_no_plain_files_are_left_out_or_named(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        for name in ("a.png", "dir/../b.png", "x" * 5000 + ".png"):
            zipped.writestr(name, png(8, 8))
        with pytest.warns(UserWarning, match="Duplicate"):
            zipped.writestr("a.png", png(8, 8))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    assert len(folder(path).load()) == 4
    special = [member(f"{number}.png", type=kind) for number, kind in enumerate((tarfile.CHRTYPE, tarfile.FIFOTYPE))]
    special += [member("2.png", type=tarfile.LNKTYPE, linkname="/etc/passwd")]
    path = tmp_path / "photos.tar"
    path.write_bytes(tar_of(*((info, b"") for info in special), (member("3.png"), png(8, 8))))
    assert len(folder(path).load()) == 1


def test_an_encrypted_or_unknown_member_is_broken(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("a.png", png(8, 8))
    for name, place, value in (("encrypted", 6, 1), ("method", 8, 99)):
        content = bytearray(packed.getvalue())
        directory = content.index(b"PK\1\2")
        for start in (place, directory + place + 2):
            content[start] = value
        (tmp_path / f"{name}.zip").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"1 of 1 image files cannot be read.*a\.png \(.*(encrypted|not supported)"
        ):
            folder(tmp_path / f"{name}.zip").load()


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder that anyone may read, and no special rights: for root nothing is forbidden."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield place
    finally:
        if root:
            os.seteuid(0)
        subprocess.run(["chmod", "-R", "u+rwx", str(place)], check=True)
        shutil.rmtree(place)


def test_what_may_not_be_read_or_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with as_nobody() as place:
        images, cache = place / "images", place / "cache"
        (images / "inside").mkdir(parents=True)
        cache.mkdir()
        monkeypatch.setenv("GAN_CLI_CACHE", str(cache))
        for path in (images / "a.png", images / "inside" / "b.png"):
            path.write_bytes(png(8, 8))
        (images / "a.png").chmod(0)
        with pytest.raises(ValueError, match=r"1 of 2 image files.*a\.png \(Permission denied\)"):
            folder(images).load()
        (images / "inside").chmod(0)
        with pytest.raises(ValueError, match="images cannot be read: .*Permission denied.*inside"):
            folder(images).load()
        with pytest.raises(ValueError, match="images cannot be read: .*Permission denied"):
            folder(images / "inside" / "deeper").load()
        (images / "a.png").chmod(0o600)
        (images / "inside").chmod(0o700)
        shutil.rmtree(cache)
        cache.mkdir(mode=0o500)
        with pytest.raises(ValueError, match="cannot be prepared .*Permission denied.*GAN_CLI_CACHE"):
            folder(images).load()


def test_odd_names_and_links(tmp_path: Path) -> None:
    root = tmp_path / ("n" * 240)
    inside = root / os.fsdecode(b"caf\xe9 \xff")
    inside.mkdir(parents=True)
    for name in ("b" * 250 + ".png", os.fsdecode(b"\xe9.png"), "\u202ea.png"):
        (inside / name).write_bytes(png(8, 8))
    (inside / "loop.png").symlink_to("loop.png")
    (inside / "nowhere.png").symlink_to("absent.png")
    (inside / "up").symlink_to(root)
    os.mkfifo(inside / "pipe.png")
    (inside / "folder.png").mkdir()
    assert len(folder(root).load()) == 3
    assert len(folder(inside).load()) == 3
    first = prepared_folders()
    assert len(folder(inside).load()) == 3
    assert prepared_folders() == first
    (inside / os.fsdecode(b"\xe9.png")).write_text("no image")
    (inside / "\u202ea.png").write_text("no image")
    with pytest.raises(ValueError, match=r"\\u202ea\.png, \\udce9\.png") as refusal:
        folder(inside).load()
    assert str(refusal.value).isprintable()
    with pytest.warns(UserWarning, match="2 broken"):
        folder(inside, on_corrupt="skip").load()
    with pytest.raises(ValueError, match="cannot be read: .*too long"):
        folder(tmp_path / ("x" * 300)).load()


def test_a_class_folder_without_images_is_no_class(photographs: Path) -> None:
    (photographs / "empty").mkdir()
    assert folder(photographs).load().labels.tolist() == [0] * 12 + [1] * 12


def test_pixels_that_changed_on_disk_are_seen(photographs: Path) -> None:
    before = folder(photographs, size=64).load().values.clone()
    (place,) = prepared_folders()
    content = bytearray((place / "pixels.u8").read_bytes())
    content[:] = bytes(len(content))  # copied from elsewhere: every block differs
    (place / "pixels.u8").write_bytes(content)
    with pytest.warns(UserWarning, match=r"preparing images again: .*pixels\.u8 is not what was written"):
        assert torch.equal(folder(photographs, size=64).load().values, before)
    content[:] = before.numpy().tobytes()
    content[len(content) // 2] ^= 1
    (place / "pixels.u8").write_bytes(content)
    with pytest.warns(UserWarning, match=r"pixels\.u8 is not what was written"):
        assert torch.equal(folder(photographs, size=64, verify=True).load().values, before)
    folder(photographs, size=64, verify=True).load()


def test_every_block_is_looked_at_sooner_or_later(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_cli.datasets.cached.BLOCK_BYTES", 3 * 16 * 16)
    folder(photographs).load()
    (place,) = prepared_folders()
    content = bytearray((place / "pixels.u8").read_bytes())
    content[5000] ^= 1
    (place / "pixels.u8").write_bytes(content)
    with pytest.raises(UserWarning, match=r"pixels\.u8 is not what was written"):
        [folder(photographs).load() for _ in range(100)]  # 8 of 24 blocks each time


def test_corrupted_files_of_torchvision_are_refused(tmp_path: Path) -> None:
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"):
        (base / name).write_bytes(b"\x80\x04damaged")
    with pytest.raises(ValueError, match="CIFAR10 is not in .*, or not whole"):
        torchvision_set("cifar10", tmp_path).load()
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + bytes(100))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(b"\1\2\3")
    with pytest.raises(ValueError, match="MNIST is not in .*, or not whole"):
        torchvision_set("mnist", tmp_path).load()


def test_without_a_home_folder_the_cache_is_in_a_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GAN_CLI_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda user: (_ for _ in ()).throw(KeyError(user)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match="GAN_CLI_CACHE"):
        found = cache_folder()
    assert found.parent == tmp_path
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    found.rmdir()
    found.symlink_to(tmp_path)  # another user's folder
    with pytest.raises(gan_cli.errors.UserError, match="GAN_CLI_CACHE"):
        cache_folder()


def test_interrupting_does_not_wait_for_images_that_have_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(png(64, 64))
    monkeypatch.setattr(prepared, "DECODED_BYTES", 1)  # one at a time; the other threads wait
    data = folder(tmp_path)
    source = data.source()
    images = data.decoded(source.contents(range(12)))
    assert isinstance(images, Generator)
    next(images)
    images.close()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(timeout=5)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "failure",
    [
        "RuntimeError('operator torchvision::nms does not exist')",
        pytest.param("OSError('libcudart')", marks=pytest.mark.slow),
    ],
)
def test_a_torchvision_that_cannot_load_is_one_line_of_advice(failure: str, tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise {failure}")
    path = os.pathsep.join([str(tmp_path), *sys.path])

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        code = f"import sys; from gan_cli import cli; sys.argv = {['gan-train', *words]}; cli.train()"
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}
        )

    broken = run("dataset=cifar10")
    assert broken.returncode == 2
    assert broken.stderr.count("\n") == 1
    assert "torchvision cannot be loaded" in broken.stderr
    assert "install torch and torchvision from the same index" in broken.stderr
    assert not (tmp_path / "outputs").exists()
    assert run("--help").returncode == 0
