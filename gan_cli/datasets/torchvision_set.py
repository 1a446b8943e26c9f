"""The data sets that torchvision reads, and downloads where it can."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from gan_cli.datasets.prepared import PreparedDataset
from gan_cli.datasets.source import Content, Entry, Source
from gan_cli.work import in_background

Name = Literal["mnist", "fashion_mnist", "cifar10", "cifar100", "stl10", "celeba", "lsun", "imagenet"]
TITLES: dict[Name, tuple[str, str]] = {  # torchvision's name, and what the root has to contain
    "mnist": ("MNIST", "the four unpacked MNIST files (train-images-idx3-ubyte, ...) in MNIST/raw"),
    "fashion_mnist": ("FashionMNIST", "the four unpacked files (train-images-idx3-ubyte, ...) in FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "the unpacked folder cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "the unpacked folder cifar-100-python"),
    "stl10": ("STL10", "the unpacked folder stl10_binary"),
    "celeba": ("CelebA", "the unpacked img_align_celeba and the list_*.txt files in celeba"),
    "lsun": ("LSUN", "the unpacked <class>_<train|val>_lmdb folders"),
    "imagenet": ("ImageNet", "ILSVRC2012_img_train.tar or _val.tar, and ILSVRC2012_devkit_t12.tar.gz"),
}
CANNOT_BE_FETCHED = ("lsun", "imagenet")


@dataclass(frozen=True, kw_only=True)
class TorchvisionSet(PreparedDataset):
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
    def named(self) -> dict[str, str]:
        return {"dataset": self.name, "split": self.split}


class TorchvisionSource(Source):
    def __init__(self, name: Name, split: str, root: Path, download: bool) -> None:
        self.name: Name = name
        self.split = split
        self.root = root
        self.download = download

    def identity(self) -> dict[str, Any]:
        return {"torchvision": self.name, "split": self.split, "root": str(self.root.resolve())}

    def entries(self) -> list[Entry]:
        labels = getattr(self.images, "targets", getattr(self.images, "labels", None))
        if labels is None or self.name == "celeba":
            return [Entry(f"{self.name} {index}", -1) for index in range(len(self.images))]
        return [Entry(f"{self.name} {index}", int(label)) for index, label in enumerate(labels)]

    def contents(self, chosen: Sequence[int]) -> Iterator[Content]:
        images = self.images
        for index in chosen:
            yield partial(image_of, images, index)

    @cached_property
    def images(self) -> Any:
        """torchvision's data set; raises ValueError that says which files belong where."""
        title, wanted = TITLES[self.name]
        remedy = f"put {wanted} in {self.root.resolve()}, or set dataset.root"
        try:
            return in_background(f"opening {title}", self.open, download=False)
        except ModuleNotFoundError as error:
            raise ValueError(f"{title} needs another package: {error}") from error
        except (RuntimeError, OSError):
            pass  # torchvision's advice is about its own arguments
        if not self.download or self.name in CANNOT_BE_FETCHED:
            command = f"gan-train dataset={self.name} dataset.download=true"
            fetch = "" if self.name in CANNOT_BE_FETCHED else f", or fetch it: {command}"
            raise ValueError(f"{title} is not in {self.root.resolve()}, or not whole: {remedy}{fetch}")
        there = {folder for folder in (self.root.resolve(), *self.root.resolve().parents) if folder.exists()}
        try:
            return self.open(download=True)
        except (RuntimeError, OSError) as error:
            remove_empty(self.root.resolve(), there)
            reason = " ".join(str(error).split())
            raise ValueError(f"{title} could not be downloaded ({reason}): {remedy}") from error

    def open(self, *, download: bool) -> Any:
        """Raises ValueError for a split that the set does not have."""
        from torchvision import datasets

        fetching = {} if self.name in CANNOT_BE_FETCHED else {"download": download}
        if self.name in ("mnist", "fashion_mnist", "cifar10", "cifar100"):
            if self.split not in ("train", "test"):
                raise ValueError(f"dataset.split={self.split} must be train or test")
            return getattr(datasets, TITLES[self.name][0])(self.root, train=self.split == "train", **fetching)
        if self.name == "lsun":
            return datasets.LSUN(str(self.root), classes=[self.split])
        return getattr(datasets, TITLES[self.name][0])(self.root, split=self.split, **fetching)


def image_of(images: Any, index: int) -> Any:
    return images[index][0]


def remove_empty(root: Path, there: set[Path]) -> None:
    """Removes empty folders that a failed download has created."""
    made = [root, *root.parents, *(path for path in root.rglob("*") if path.is_dir())] if root.is_dir() else []
    for folder in sorted(made, key=lambda path: -len(path.parts)):
        if folder not in there and not any(folder.iterdir()):
            folder.rmdir()
