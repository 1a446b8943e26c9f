"""Stacks of three digits."""

from pathlib import Path

import pytest
import torch

from gan_cli.config.build import build_dataset
from gan_cli.config.read import config_of
from gan_cli.data import TrainingSet
from gan_cli.datasets.stacked import StackedDigits
from gan_cli.shapes import unlabelled

from .test_prepared import write_mnist


def stacked(*overrides: str) -> StackedDigits:
    dataset = build_dataset(config_of(["dataset=stacked_digits", "dataset.num_images=3000", *overrides]))
    assert isinstance(dataset, StackedDigits)
    return dataset


def test_each_channel_is_an_image_of_a_class_drawn_uniformly() -> None:
    dataset = stacked()
    whole, loaded = dataset.every_image(), dataset.load()
    assert loaded.values.shape == (3000, 3, 16, 16)
    assert loaded.num_classes == 0
    assert dataset.probe() == ((3, 16, 16), 3000)
    labels = {
        bytes(image.numpy().tobytes()): int(label) for image, label in zip(whole.values, whole.labels, strict=True)
    }
    found = torch.tensor([[labels[channel.numpy().tobytes()] for channel in image] for image in loaded.values])
    shares = found.flatten().bincount(minlength=10) / found.numel()
    assert (shares - 0.1).abs().max() < 4 * (0.09 / found.numel()) ** 0.5
    equal = (found[:, 0] == found[:, 1]).double().mean().item()  # the channels are independent
    assert equal == pytest.approx(0.1, abs=4 * (0.09 / 3000) ** 0.5)


def test_the_classes_are_uniform_where_the_digits_are_not() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    values = labels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    made = stacked().arranged(TrainingSet(values, labels)).values
    assert made.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 9000**0.5)


def test_stacks_follow_their_seed_and_held_out_ones_share_no_digit() -> None:
    assert torch.equal(stacked().load().values, stacked().load().values)
    assert not torch.equal(stacked().load().values, stacked("dataset.stack_seed=1").load().values)
    dataset = stacked("dataset.num_held_out=300")
    digits = [
        {channel.numpy().tobytes() for image in each.values for channel in image}
        for each in (dataset.load(), dataset.held_out())
    ]
    assert digits[0]
    assert digits[1]
    assert not digits[0] & digits[1]


def test_digits_without_labels_cannot_be_stacked() -> None:
    images = TrainingSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 2, 2]))
    with pytest.raises(ValueError, match="an image of every class"):
        stacked().arranged(images)
    with pytest.raises(ValueError, match="an image of every class"):
        stacked().arranged(TrainingSet(images.values, unlabelled(4)))


def test_mnist_is_stacked_from_its_root(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=40, test=30)
    overrides = [f"dataset.root={tmp_path}", "dataset.num_images=50", "dataset.image_size=28"]
    dataset = build_dataset(config_of(["dataset=stacked_mnist", *overrides]))
    assert dataset.probe() == ((3, 28, 28), 50)
    assert dataset.image_shape == (3, 28, 28)
    assert dataset.load().values.shape == (50, 3, 28, 28)
    assert dataset.held_out().values.shape == (50, 3, 28, 28)
    assert dataset.protocol["num_stacked"] == 50
