"""Data sets with labels: a part that training never sees, and training images of which only few keep their label."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from gan_cli.data import TrainingSet
from gan_cli.datasets.dataset import Dataset, Probed
from gan_cli.datasets.prepared import PreparedDataset
from gan_cli.seeding import mix
from gan_cli.shapes import Labels


@dataclass(frozen=True, kw_only=True)
class LabelledDataset(Dataset):
    """Images of which `num_held_out` are kept out of training, and `num_labelled` of the others keep their label.

    Both are balanced over the classes as far as these have images. The held-out images are always the same ones. The
    others with a label (null: all) are chosen by `label_seed`, fewer of them being the first of more; the rest get
    label -1. Neither choice depends on the machine.
    """

    num_labelled: Annotated[int, Ge(1)] | None
    num_held_out: Annotated[int, Ge(0)]
    label_seed: Annotated[int, Ge(0)]

    @abstractmethod
    def every_image(self) -> TrainingSet:
        """What `load` gives where nothing is held out and every image keeps its label."""

    def load(self) -> TrainingSet:
        whole = self.every_image()
        if self.num_held_out:
            whole = rows_of(whole, self.order_of_held_out(whole)[self.num_held_out :])
        return self.arranged(
            whole if self.num_labelled is None else replace(whole, labels=self.few_labels(whole.labels))
        )

    def arranged(self, images: TrainingSet) -> TrainingSet:
        """What becomes of the images that were chosen for training, or of those that were held out: themselves."""
        return images

    @property
    def holds_out(self) -> bool:
        return self.num_held_out > 0

    def held_out(self) -> TrainingSet:
        """The images that training never sees, each with its label; raises ValueError if there are none."""
        if not self.num_held_out:
            return super().held_out()
        whole = self.every_image()
        return self.arranged(rows_of(whole, self.order_of_held_out(whole)[: self.num_held_out]))

    def order_of_held_out(self, whole: TrainingSet) -> Tensor:
        if self.num_held_out >= len(whole):
            raise ValueError(
                f"dataset.num_held_out={self.num_held_out} leaves none of the {len(whole)} images to train on: lower it"
            )
        order = balanced_order(whole.labels, mix("held out"))
        return order[(whole.labels[order] < 0).long().argsort(stable=True)]  # images without a label come last

    def few_labels(self, labels: Labels) -> Labels:
        assert self.num_labelled is not None
        given = (labels >= 0).nonzero().flatten()
        num_classes = len(labels[given].unique())
        if not num_classes:
            raise ValueError(f"dataset.num_labelled={self.num_labelled}, but the images have no labels: remove it")
        if not num_classes <= self.num_labelled <= len(given):
            raise ValueError(
                f"dataset.num_labelled={self.num_labelled} must be at least {num_classes}, one for each class, and at "
                f"most {len(given)}, the number of labelled images that are not held out"
            )
        kept = given[balanced_order(labels[given], mix("labelled", self.label_seed))[: self.num_labelled]]
        few = torch.full_like(labels, -1)
        few[kept] = labels[kept]
        return few

    @property
    def part(self) -> dict[str, str | int | float]:
        """For the protocol: what becomes of the images, such as how many are held out.

        The number of labels is not in it. It changes what a method is given, not the images that it is scored on, so
        that methods with few and with many labels are rows of one table.
        """
        return {"num_held_out": self.num_held_out} if self.num_held_out else {}


class LabelledImages(LabelledDataset, PreparedDataset):
    """Prepared images, whose labels their source gives."""

    def every_image(self) -> TrainingSet:
        return PreparedDataset.load(self)

    @property
    def protocol(self) -> dict[str, str | int | float]:
        return super().protocol | self.part

    def probe(self) -> Probed:
        image_shape, count = super().probe()
        return Probed(image_shape, None if count is None else count - self.num_held_out)


def balanced_order(labels: Labels, seed: int) -> Tensor:
    """All rows in a random order in which classes take turns: each run from its start is as balanced as it can be."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = labels[order].argsort(stable=True)
    counts = labels.unique(return_counts=True)[1]
    place = torch.empty_like(order)  # of each row among those of its class
    place[by_class] = torch.arange(len(order)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return order[place.argsort(stable=True)]


def rows_of(whole: TrainingSet, rows: Tensor) -> TrainingSet:
    """These rows, in the order of the whole; they are copied into memory."""
    rows = rows.sort().values
    return TrainingSet(whole.values[rows], whole.labels[rows])
