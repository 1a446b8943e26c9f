"""MNIST (LeCun et al. 1998): 70,000 handwritten digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torchvision

from gan_cli.datasets.dataset import Dataset, check_size, resize
from gan_cli.table import Table


@dataclass(frozen=True, kw_only=True)
class MNIST(Dataset):
    """The train (60,000) or test (10,000) split, [1, image_size, image_size], from `root`/MNIST/raw.

    With `download`, missing files are fetched once and checked against their published MD5 sums.
    """

    root: str
    split: Literal["train", "test"]
    image_size: int
    download: bool

    def __post_init__(self) -> None:
        check_size(self.image_size)

    def load(self) -> Table:
        try:
            mnist = torchvision.datasets.MNIST(self.root, train=self.split == "train", download=False)
        except RuntimeError:
            mnist = self.fetch()
        return Table(resize(mnist.data[:, None], self.image_size), mnist.targets.long())

    def fetch(self) -> torchvision.datasets.MNIST:
        raw = Path(self.root).resolve() / "MNIST" / "raw"
        remedy = f"put the four unpacked MNIST files (train-images-idx3-ubyte, ...) in {raw}, or set dataset.root"
        if not self.download:
            raise ValueError(f"MNIST is not in {raw}: {remedy}")
        created = [folder for folder in (raw, *raw.parents) if not folder.exists()]
        try:
            return torchvision.datasets.MNIST(self.root, train=self.split == "train", download=True)
        except (OSError, RuntimeError) as error:
            for folder in created:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            reason = " ".join(str(error).split())
            raise ValueError(f"MNIST is not in {raw} and could not be downloaded ({reason}): {remedy}") from error

    @property
    def protocol(self) -> dict[str, str | int | float]:
        return {
            "dataset": "mnist",
            "split": self.split,
            "image_size": self.image_size,
            "resize": "bilinear, antialiased",
        }
