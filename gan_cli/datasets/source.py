"""Sources of images: a folder, an archive that is read in place, or an array; torchvision's are in their own file."""

import hashlib
import io
import os
import shutil
import stat
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gan_cli.datasets.decoding import DAMAGE, EXTENSIONS, Content, RefusedError, open_image
from gan_cli.errors import one_line
from gan_cli.text import printable
from gan_cli.work import in_background, track

SORTED_AT_ONCE = 100_000  # files; sorting cannot be interrupted, and is fast if the input is partly sorted
MAX_FILE_BYTES = 2**28  # of one image; an archive may claim any unpacked size
MAX_HEADER_BYTES = 2**20  # of a long name or of further fields in a tar file, which are read as a whole
PIECE = 4096  # bytes read from an archive at a time: bz2 and lzma unpack all that they get, up to 22,000 times as much
FEWEST_BYTES = 64  # of one image in an archive, on average, if there are more than
MANY_MEMBERS = 1_000_000
MAX_REASON = 100  # characters, in a list of broken files


class Entry(NamedTuple):
    name: str
    label: int


class Source(ABC):
    """Encoded images, listed before any is opened. Raises ValueError, which says how to fix it, if there are none."""

    name: str

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Identifies the images, as JSON, without opening one; it is part of the key of prepared images."""

    def check(self) -> None:  # noqa: B027  # most are checked when they are made
        """Raises ValueError, as `entries` does, if the images are missing and are not to be fetched."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """Every image's name, and its label or -1."""

    @abstractmethod
    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        """Functions that open the images with numbers `chosen`, in ascending order; other threads may call them."""


class FolderSource(Source):
    """Every image file below a folder; links to folders are not followed."""

    def __init__(self, root: Path, setting: str) -> None:
        self.root = root
        self.name = root.resolve().name
        listed = track(image_files(str(root)), "listing image files")
        self.files = sorted(chain.from_iterable(iter(lambda: sorted(islice(listed, SORTED_AT_ONCE)), [])))
        self.paths = [path for path, _, _ in self.files]
        if not self.paths:
            raise ValueError(f"{setting}={printable(root)} holds no image files ({known_extensions()})")

    def identity(self) -> dict[str, Any]:
        listing = hashlib.sha256(b"[")  # of the list's repr, which takes a second for a million files
        for number, file in enumerate(track(self.files, "hashing the list of files")):
            listing.update((", " * (number > 0) + repr(file)).encode(errors="surrogateescape"))
        listing.update(b"]")
        return {"folder": str(self.root.resolve()), "listing": listing.hexdigest()}

    def entries(self) -> list[Entry]:
        names = [Path(path).relative_to(self.root).as_posix() for path in track(self.paths, "naming images")]
        return [Entry(name, label) for name, label in zip(names, folder_labels(names), strict=True)]

    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        for index in chosen:
            yield Content(partial(open_image, self.paths[index]))


def image_files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path, size in bytes and modification time of each image file; each is checked once, because there may be many.

    A link that leads nowhere is left out. Raises OSError for a folder that cannot be read.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from image_files(entry.path)
            elif entry.name.lower().endswith(EXTENSIONS) and is_file(entry):
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns


def is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # links in a circle
        return False


class ArchiveSource(Source):
    """Every image file in a zip or tar file, below `subfolder`; nothing is unpacked to disk, links are left out."""

    def __init__(self, path: Path, subfolder: str | None, setting: str) -> None:
        self.path = path
        self.given = f"{setting}={printable(path)}"
        self.prefix = PurePosixPath(subfolder) if subfolder else PurePosixPath()
        self.name = path.name.split(".")[0]
        with self.reading():
            self.zipped = zipfile.is_zipfile(path)
            known = self.zipped or tarfile.is_tarfile(path)
        if not known:
            raise ValueError(f"{self.given} is neither a folder nor a zip or tar file")

    def identity(self) -> dict[str, Any]:
        status = self.path.stat()
        archive = {"archive": str(self.path.resolve()), "bytes": status.st_size, "modified": status.st_mtime_ns}
        return archive | {"subfolder": str(self.prefix)}

    def entries(self) -> list[Entry]:
        names = in_background(f"reading {printable(self.path.name)}", self.names)
        if not names:
            where = f" below {self.prefix}" if self.prefix.parts else ""
            raise ValueError(f"{self.given} holds no image files{where} ({known_extensions()})")
        inside = [name.removeprefix(f"{self.prefix}/") for name in names]
        return [Entry(name, label) for name, label in zip(names, folder_labels(inside), strict=True)]

    def names(self) -> list[str]:
        names: list[str] = []
        most = max(MANY_MEMBERS, self.path.stat().st_size // FEWEST_BYTES)
        with self.reading(), self.opened() as archive:
            for number, member in enumerate(track(members(archive), "file")):
                if number >= most:
                    raise ValueError(f"it claims more than {most:,} files")
                if self.wanted(member):
                    names.append(member_name(member))
        return names

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Raises ValueError, which names the file, for anything that is wrong with it."""
        try:
            yield
        except DAMAGE as error:
            raise ValueError(f"{self.given} cannot be read: {one_line(error)}") from error

    def opened(self) -> "zipfile.ZipFile | tarfile.TarFile":
        return zipfile.ZipFile(self.path) if self.zipped else tarfile.open(self.path, tarinfo=TarMember)

    def wanted(self, member: "zipfile.ZipInfo | tarfile.TarInfo") -> bool:
        name = PurePosixPath(member_name(member))
        below = not self.prefix.parts or name.is_relative_to(self.prefix)
        return below and name.suffix.lower() in EXTENSIONS and is_regular(member)

    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        """In the archive's own order, in one pass: a compressed tar file allows no other."""
        with self.reading(), in_background(f"opening {printable(self.path.name)}", self.opened) as archive:
            wanted = set(chosen)
            for index, member in enumerate(member for member in members(archive) if self.wanted(member)):
                if index in wanted:
                    yield read_member(archive, member)


class ArraySource(Source):
    """Bytes [images, height, width, 1 or 3] in a .npy file, or as arr_0 in a .npz file, where ADM has its samples."""

    def __init__(self, path: Path, setting: str) -> None:
        self.path = path
        self.name = path.stem
        try:
            self.images = in_background(f"reading {printable(path.name)}", array_in, path)
        except DAMAGE as error:
            raise ValueError(f"{setting}={printable(path)} cannot be read: {one_line(error)}") from error
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or not all(shape):
            raise ValueError(f"{setting}={printable(path)} holds no bytes [images, height, width, 1 or 3] as arr_0")

    def identity(self) -> dict[str, Any]:
        status = self.path.stat()
        return {"array": str(self.path.resolve()), "bytes": status.st_size, "modified": status.st_mtime_ns}

    def entries(self) -> list[Entry]:
        return [Entry(f"image {number}", -1) for number in range(len(self.images))]

    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        for index in chosen:
            yield Content(partial(self.opened, index))

    def opened(self, index: int) -> Image.Image:
        image = np.asarray(self.images[index])
        return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def array_in(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped, or arr_0 of a .npz file, empty if it has none; nothing is unpickled."""
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        return np.asarray(loaded.get("arr_0", np.empty(0)))


def source_of(path: Path, subfolder: str | None, setting: str) -> Source:
    """The images at this path, which the user gave as `setting`; raises ValueError if there are none."""
    if path.is_file():
        is_array = path.suffix.lower() in (".npy", ".npz")
        return ArraySource(path, setting) if is_array else ArchiveSource(path, subfolder, setting)
    folder = path / (subfolder or "")
    if not folder.is_dir():
        raise ValueError(
            f"{setting}={printable(folder)} is not a folder: set {setting} to a folder, a zip or a tar file of images"
        )
    return FolderSource(folder, setting)


class TarMember(tarfile.TarInfo):
    """A member whose size cannot lead backwards, which would be read for ever, or into memory without bound.

    A damaged header raises ReadError; tarfile would take it for the end of the archive.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "TarMember":
        try:
            return super().frombuf(buf, encoding, errors)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is damaged: {error}") from error

    def _block(self, count: int) -> int:
        header = self.type in (*tarfile.GNU_TYPES[:2], tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if count < 0 or (header and count > MAX_HEADER_BYTES):
            raise tarfile.ReadError(f"a member claims {count:,} bytes")
        return super()._block(count)  # type: ignore[misc]


def members(archive: "zipfile.ZipFile | tarfile.TarFile") -> Iterable["zipfile.ZipInfo | tarfile.TarInfo"]:
    if isinstance(archive, zipfile.ZipFile):
        yield from archive.infolist()
        return
    while (member := archive.next()) is not None:
        yield member
        archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them


def member_name(member: "zipfile.ZipInfo | tarfile.TarInfo") -> str:
    return member.filename if isinstance(member, zipfile.ZipInfo) else member.name


def is_regular(member: "zipfile.ZipInfo | tarfile.TarInfo") -> bool:
    if isinstance(member, tarfile.TarInfo):
        return member.isfile()
    return not member.is_dir() and stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)  # 0: not from Unix


def read_member(archive: "zipfile.ZipFile | tarfile.TarFile", member: "zipfile.ZipInfo | tarfile.TarInfo") -> Content:
    """Reads the member's bytes at once; any thread may decode them."""
    claimed = member.file_size if isinstance(member, zipfile.ZipInfo) else member.size
    if claimed > MAX_FILE_BYTES:
        return Content(partial(refuse, f"unpacks to {claimed:,} bytes, more than {MAX_FILE_BYTES:,}"))
    unpacked = io.BytesIO()
    try:
        if isinstance(archive, zipfile.ZipFile):
            assert isinstance(member, zipfile.ZipInfo)
            with archive.open(member) as file:
                shutil.copyfileobj(file, unpacked, PIECE)
        else:
            assert isinstance(member, tarfile.TarInfo)
            stored = archive.extractfile(member)
            assert stored is not None  # it is no folder
            shutil.copyfileobj(stored, unpacked, PIECE)
    except DAMAGE as error:
        return Content(partial(refuse, printable(error, MAX_REASON)))
    return Content(partial(open_image, unpacked), claimed)


def refuse(reason: str) -> Image.Image:
    raise RefusedError(reason)


def known_extensions() -> str:
    return ", ".join(EXTENSIONS)


def folder_labels(names: Sequence[str]) -> list[int]:
    """Labels by first-level folder, sorted, if every file is in one; otherwise -1 for all."""
    parts = [PurePosixPath(name).parts for name in track(names, "finding the classes of images")]
    if any(len(part) == 1 for part in parts):
        return [-1] * len(names)
    classes = {name: number for number, name in enumerate(sorted({part[0] for part in parts}))}
    return [classes[part[0]] for part in parts]
