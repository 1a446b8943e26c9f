"""Sources of encoded images: a folder, an archive read in place, or a data set of torchvision."""

import hashlib
import io
import os
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image

from gan_cli.work import in_background, track

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SORTED_AT_ONCE = 100_000  # files; sorting cannot be interrupted, and is fast if the input is partly sorted
MAX_FILE_BYTES = 2**28  # of one image; an archive may claim any unpacked size
Content = Callable[[], Image.Image]


class Entry(NamedTuple):
    name: str
    label: int


class Source(ABC):
    """Encoded images, listed before any is opened. Raises ValueError, which says how to fix it, if there are none."""

    name: str

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Identifies the images, as JSON, without opening one; it is part of the key of prepared images."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """Every image's name, and its label or -1."""

    @abstractmethod
    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        """Functions that open the images with numbers `chosen`, in ascending order; other threads may call them."""


class FolderSource(Source):
    """Every image file below a folder; links to folders are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.resolve().name
        listed = track(image_files(str(root)), "listing image files")
        self.files = sorted(chain.from_iterable(iter(lambda: sorted(islice(listed, SORTED_AT_ONCE)), [])))
        self.paths = [path for path, _, _ in self.files]
        if not self.paths:
            raise ValueError(f"dataset.root={root} holds no image files ({', '.join(EXTENSIONS)})")

    def identity(self) -> dict[str, Any]:
        listing = hashlib.sha256(b"[")  # of the list's repr, which takes a second for a million files
        for number, file in enumerate(track(self.files, "hashing the list of files")):
            listing.update((", " * (number > 0) + repr(file)).encode(errors="surrogateescape"))
        listing.update(b"]")
        return {"folder": str(self.root.resolve()), "listing": listing.hexdigest()}

    def entries(self) -> list[Entry]:
        names = [Path(path).relative_to(self.root).as_posix() for path in track(self.paths, "naming images")]
        return [Entry(path, label) for path, label in zip(self.paths, folder_labels(names), strict=True)]

    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        for index in chosen:
            yield partial(Image.open, self.paths[index])


def image_files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path, size in bytes and modification time of each image file; each is checked once, because there may be many."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from image_files(entry.path)
            elif entry.name.lower().endswith(EXTENSIONS) and entry.is_file():
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns


class ArchiveSource(Source):
    """Every image file in a zip or tar file, below `subfolder`; nothing is unpacked to disk."""

    def __init__(self, path: Path, subfolder: str | None) -> None:
        self.path = path
        self.prefix = PurePosixPath(subfolder) if subfolder else PurePosixPath()
        self.name = path.name.split(".")[0]
        self.zipped = zipfile.is_zipfile(path)
        if not self.zipped and not tarfile.is_tarfile(path):
            raise ValueError(f"dataset.root={path} is neither a folder nor a zip or tar file")

    def identity(self) -> dict[str, Any]:
        status = self.path.stat()
        archive = {"archive": str(self.path.resolve()), "bytes": status.st_size, "modified": status.st_mtime_ns}
        return archive | {"subfolder": str(self.prefix)}

    def entries(self) -> list[Entry]:
        try:
            names = in_background(f"reading {self.path.name}", self.names)
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise ValueError(f"dataset.root={self.path} cannot be read: {error}") from error
        if not names:
            where = f" below {self.prefix}" if self.prefix.parts else ""
            raise ValueError(f"dataset.root={self.path} holds no image files{where} ({', '.join(EXTENSIONS)})")
        inside = [name.removeprefix(f"{self.prefix}/") for name in names]
        return [Entry(name, label) for name, label in zip(names, folder_labels(inside), strict=True)]

    def names(self) -> list[str]:
        with self.opened() as archive:
            return [member_name(member) for member in track(members(archive), "file") if self.wanted(member)]

    def opened(self) -> "zipfile.ZipFile | tarfile.TarFile":
        return zipfile.ZipFile(self.path) if self.zipped else tarfile.open(self.path)

    def wanted(self, member: "zipfile.ZipInfo | tarfile.TarInfo") -> bool:
        name = PurePosixPath(member_name(member))
        regular = not member.is_dir() if isinstance(member, zipfile.ZipInfo) else member.isfile()
        below = not self.prefix.parts or name.is_relative_to(self.prefix)
        return regular and below and name.suffix.lower() in EXTENSIONS

    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        """In the archive's own order, in one pass: a compressed tar file allows no other."""
        with in_background(f"opening {self.path.name}", self.opened) as archive:
            wanted = set(chosen)
            for index, member in enumerate(member for member in members(archive) if self.wanted(member)):
                if index in wanted:
                    yield reader(archive, member)


def members(archive: "zipfile.ZipFile | tarfile.TarFile") -> Iterable["zipfile.ZipInfo | tarfile.TarInfo"]:
    return archive.infolist() if isinstance(archive, zipfile.ZipFile) else archive


def member_name(member: "zipfile.ZipInfo | tarfile.TarInfo") -> str:
    return member.filename if isinstance(member, zipfile.ZipInfo) else member.name


def reader(archive: "zipfile.ZipFile | tarfile.TarFile", member: "zipfile.ZipInfo | tarfile.TarInfo") -> Content:
    """Reads the member's bytes at once; any thread may decode them."""
    claimed = member.file_size if isinstance(member, zipfile.ZipInfo) else member.size
    if claimed > MAX_FILE_BYTES:
        return partial(refuse, f"it unpacks to {claimed:,} bytes")
    try:
        if isinstance(archive, zipfile.ZipFile) and isinstance(member, zipfile.ZipInfo):
            content = archive.read(member)
        else:
            assert isinstance(archive, tarfile.TarFile)
            assert isinstance(member, tarfile.TarInfo)
            file = archive.extractfile(member)
            content = file.read() if file is not None else b""
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        return partial(refuse, str(error))
    return partial(Image.open, io.BytesIO(content))


def refuse(reason: str) -> Image.Image:
    raise ValueError(reason)


def folder_labels(names: Sequence[str]) -> list[int]:
    """Labels by first-level folder, sorted, if every file is in one; otherwise -1 for all."""
    parts = [PurePosixPath(name).parts for name in track(names, "finding the classes of images")]
    if any(len(part) == 1 for part in parts):
        return [-1] * len(names)
    classes = {name: number for number, name in enumerate(sorted({part[0] for part in parts}))}
    return [classes[part[0]] for part in parts]
