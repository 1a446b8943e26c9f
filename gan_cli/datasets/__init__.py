"""Data sets: real images, decoded once."""

from gan_cli.datasets.dataset import Dataset
from gan_cli.datasets.digits import Digits
from gan_cli.datasets.image_folder import ImageFolder
from gan_cli.datasets.labelled import LabelledDataset, LabelledImages
from gan_cli.datasets.stacked import StackedDigits, StackedMNIST
from gan_cli.datasets.torchvision_set import TorchvisionSet
from gan_cli.datasets.toy import Grid, Mixture, Ring

__all__ = [
    "Dataset",
    "Digits",
    "Grid",
    "ImageFolder",
    "LabelledDataset",
    "LabelledImages",
    "Mixture",
    "Ring",
    "StackedDigits",
    "StackedMNIST",
    "TorchvisionSet",
]
