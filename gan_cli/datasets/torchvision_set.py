"""The data sets that torchvision reads, and downloads where it can."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from pickle import PickleError
from typing import Any, Literal

from PIL import Image

from gan_cli.data import TrainingSet
from gan_cli.datasets.decoding import DAMAGE, Content, open_image
from gan_cli.datasets.labelled import LabelledImages
from gan_cli.datasets.source import Entry, Source
from gan_cli.errors import one_line
from gan_cli.metrics.loading import torchvision_needed
from gan_cli.text import printable
from gan_cli.work import in_background

Name = Literal["mnist", "fashion_mnist", "cifar10", "cifar100", "stl10", "svhn", "celeba", "lsun", "imagenet"]
TITLES: dict[Name, tuple[str, str]] = {  # torchvision's name, and what the root has to contain
    "mnist": ("MNIST", "the four unpacked MNIST files (train-images-idx3-ubyte, ...) in MNIST/raw"),
    "fashion_mnist": ("FashionMNIST", "the four unpacked files (train-images-idx3-ubyte, ...) in FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "the unpacked folder cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "the unpacked folder cifar-100-python"),
    "stl10": ("STL10", "the unpacked folder stl10_binary"),
    "svhn": ("SVHN", "train_32x32.mat, test_32x32.mat and, for that split, extra_32x32.mat"),
    "celeba": ("CelebA", "the unpacked img_align_celeba and the list_*.txt files in celeba"),
    "lsun": ("LSUN", "the unpacked <class>_<train|val>_lmdb folders"),
    "imagenet": ("ImageNet", "ILSVRC2012_img_train.tar or _val.tar, and ILSVRC2012_devkit_t12.tar.gz"),
}
CANNOT_BE_FETCHED = ("lsun", "imagenet")
TRAIN_OR_TEST = ("mnist", "fashion_mnist", "cifar10", "cifar100")  # their splits
HELD_OUT = {  # the split that training on another one never sees
    **dict.fromkeys(("train", "extra", "unlabeled", "train+unlabeled"), "test"),
    "test": "train",
}


@dataclass(frozen=True, kw_only=True)
class TorchvisionSet(LabelledImages):
    """One `split` of a data set in `root`; with `download`, missing files are downloaded once and checked.

    LSUN's splits are its classes, such as church_outdoor_train.
    """

    name: Name
    root: str
    split: str
    download: bool

    def source(self) -> Source:
        return TorchvisionSource(self.name, self.split, Path(self.root), self.download)

    @property
    def holds_out(self) -> bool:
        return self.num_held_out > 0 or self.split in self.other_splits

    def held_out(self) -> TrainingSet:
        """The held-out part of the split, if there is one, else the other split."""
        if self.num_held_out or self.split not in self.other_splits:
            return super().held_out()
        return replace(self, split=self.other_splits[self.split], num_labelled=None).load()

    @property
    def other_splits(self) -> dict[str, str]:
        return {"train": "val", "val": "train"} if self.name == "imagenet" else HELD_OUT

    @property
    def named(self) -> dict[str, str]:
        return {"dataset": self.name, "split": self.split}


class TorchvisionSource(Source):
    def __init__(self, name: Name, split: str, root: Path, download: bool) -> None:
        if name in TRAIN_OR_TEST and split not in ("train", "test"):
            raise ValueError(f"dataset.split={split} must be train or test")
        self.name: Name = name
        self.split = split
        self.root = root
        self.download = download

    def identity(self) -> dict[str, Any]:
        return {"torchvision": self.name, "split": self.split, "root": str(self.root.resolve())}

    def check(self) -> None:
        if not self.download:
            self.images  # noqa: B018  # opens them

    def entries(self) -> list[Entry]:
        labels = (
            None if self.name == "celeba" else getattr(self.images, "targets", getattr(self.images, "labels", None))
        )
        names = self.paths or [f"{self.name} {index}" for index in range(len(self.images))]
        return [Entry(name, -1 if labels is None else int(labels[index])) for index, name in enumerate(names)]

    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        """torchvision would open a file of any format, so only images that it holds as arrays come from it."""
        for index in chosen:
            if self.paths:
                yield Content(partial(open_image, self.paths[index]))
            elif self.name == "lsun":
                yield Content(partial(self.images.open, index))
            else:
                yield Content(partial(image_of, self.images, index))

    @cached_property
    def paths(self) -> list[str]:
        """The images' files, for sets that have some."""
        if self.name == "celeba":
            folder = Path(self.images.root) / self.images.base_folder / "img_align_celeba"
            return [str(folder / name) for name in self.images.filename]
        return [path for path, _ in self.images.samples] if self.name == "imagenet" else []

    @cached_property
    def images(self) -> Any:
        """torchvision's data set; raises ValueError that says which files belong where."""
        title, wanted = TITLES[self.name]
        root = self.root.resolve()
        remedy = f"put {wanted} in {printable(root)}, or set dataset.root"
        with torchvision_needed():
            import torchvision.datasets  # noqa: F401
        try:
            return in_background(f"opening {title}", self.open, download=False)
        except ModuleNotFoundError as error:
            raise ValueError(f"{title} needs another package: {error}") from error
        except (*DAMAGE, PickleError):
            pass  # torchvision's advice is about its own arguments
        if not self.download or self.name in CANNOT_BE_FETCHED:
            command = f"gan-train dataset={self.name} dataset.download=true"
            fetch = "" if self.name in CANNOT_BE_FETCHED else f", or fetch it: {command}"
            raise ValueError(f"{title} is not in {printable(root)}, or not whole: {remedy}{fetch}")
        there = {folder for folder in (root, *root.parents) if folder.exists()}
        try:
            return self.open(download=True)
        except (*DAMAGE, PickleError, HTTPException) as error:
            remove_empty(root, there)
            raise ValueError(f"{title} could not be downloaded ({one_line(error)}): {remedy}") from error

    def open(self, *, download: bool) -> Any:
        from torchvision import datasets

        if self.name == "lsun":
            return LSUN(self.root / f"{self.split}_lmdb")
        fetching = {} if self.name in CANNOT_BE_FETCHED else {"download": download}
        if self.name in TRAIN_OR_TEST:
            return getattr(datasets, TITLES[self.name][0])(self.root, train=self.split == "train", **fetching)
        return getattr(datasets, TITLES[self.name][0])(self.root, split=self.split, **fetching)


class LSUN:
    """The encoded images of an LMDB file; torchvision's reader unpickles a list of keys from the current folder."""

    def __init__(self, folder: Path) -> None:
        lmdb: Any = import_module("lmdb")  # no dependency: LSUN alone needs it
        try:
            self.file = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
            with self.file.begin() as reading:
                self.keys = list(reading.cursor().iternext(keys=True, values=False))
        except lmdb.Error as error:
            raise OSError(str(error)) from error

    def __len__(self) -> int:
        return len(self.keys)

    def open(self, index: int) -> Image.Image:
        with self.file.begin() as reading:
            return open_image(io.BytesIO(reading.get(self.keys[index])))


def image_of(images: Any, index: int) -> Any:
    return images[index][0]


def remove_empty(root: Path, there: set[Path]) -> None:
    """Removes empty folders that a failed download has created."""
    made = [root, *root.parents, *(path for path in root.rglob("*") if path.is_dir())] if root.is_dir() else []
    for folder in sorted(made, key=lambda path: -len(path.parts)):
        if folder not in there and not any(folder.iterdir()):
            folder.rmdir()
