"""How well FID under each shipped classifier sees that images are worse: python benchmarks/extractors.py digits.

Or, for MNIST, python benchmarks/extractors.py mnist <data folder>, on 4,000 of its training images. One half of the
images is degraded and scored against the other half. Prints FID of real halves over 20 splits, and how many of their
standard deviations each degraded half is above their mean.
"""

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from gan_cli.config.build import build_dataset
from gan_cli.config.read import config_of
from gan_cli.data import TrainingSet
from gan_cli.metrics.classifier import ClassifierExtractor
from gan_cli.metrics.frechet import Moments, frechet_distance

SPLITS, MOST_IMAGES = 20, 4000


def main() -> None:
    data, *folder = sys.argv[1:]
    training_set = build_dataset(config_of([f"dataset={data}", *(f"dataset.root={root}" for root in folder)])).load()
    training_set = TrainingSet(training_set.values[:MOST_IMAGES], training_set.labels[:MOST_IMAGES])
    names: list[Any] = [data, f"{data}_v2"]
    columns = {name: column(ClassifierExtractor(name=name), training_set) for name in names}
    print(f"| | {' | '.join(names)} |\n| --- | --- | --- |")
    for row, cell in columns[data].items():
        print(f"| {row} | {cell} | {columns[f'{data}_v2'][row]} |")


def column(extractor: ClassifierExtractor, training_set: TrainingSet) -> dict[str, str]:
    network = extractor.load().network
    pixels, half = training_set.values, len(training_set) // 2

    def moments(images: Tensor) -> Moments:
        return Moments(torch.cat([network(batch)[0] for batch in images.split(500)]))

    def fid(fake: Tensor, real: Tensor) -> float:
        return frechet_distance(moments(fake), moments(real))

    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(pixels), generator=generator) for _ in range(SPLITS)]
    floors = [fid(pixels[order[:half]], pixels[order[half:]]) for order in orders]
    mean, deviation = statistics.mean(floors), statistics.stdev(floors)
    cells = {"real images, mean and SD": f"{mean:.3g}, {deviation:.2g}"}
    fake, labels, real = pixels[orders[0][:half]], training_set.labels[orders[0][:half]], pixels[orders[0][half:]]
    for what, (degrade, strengths) in DEGRADATIONS.items():
        scores = [fid(degrade(fake, labels, strength), real) for strength in strengths]
        above = " ".join(f"{(score - mean) / deviation:.3g}" for score in scores)
        cells[what] = above if scores == sorted(scores) else f"{above} (not in order)"
    return cells


def random(shape: torch.Size, draw: Callable[..., Tensor]) -> Tensor:
    return draw(shape, generator=torch.Generator().manual_seed(1))


def noisy(pixels: Tensor, labels: Tensor, deviation: float) -> Tensor:
    return as_bytes(pixels + deviation * random(pixels.shape, torch.randn))


def spotted(pixels: Tensor, labels: Tensor, share: float) -> Tensor:
    chance = random(pixels.shape, torch.rand)
    return as_bytes(torch.where(chance < share, torch.where(chance < share / 2, 0.0, 255.0), pixels.float()))


def blurred(pixels: Tensor, labels: Tensor, deviation: float) -> Tensor:
    kernel = (-torch.arange(-6.0, 7).square() / 2 / deviation**2).exp()
    kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
    return as_bytes(conv2d(pixels.float(), kernel[None, None], padding=6))


def shifted(pixels: Tensor, labels: Tensor, columns: float) -> Tensor:
    return pad(pixels, (int(columns), 0))[..., : pixels.shape[-1]]


def erased(pixels: Tensor, labels: Tensor, size: float) -> Tensor:
    """A square of `size` sixteenths of the image, somewhere in each."""
    side = pixels.shape[-1]
    width, found = int(size * side / 16), pixels.clone()
    corners = (random(torch.Size([len(pixels), 2]), torch.rand) * (side - width + 1)).int().tolist()
    for image, (row, column) in zip(found, corners, strict=True):
        image[:, row : row + width, column : column + width] = 0
    return found


def without_classes(pixels: Tensor, labels: Tensor, count: float) -> Tensor:
    return pixels[labels >= count]


def collapsed(pixels: Tensor, labels: Tensor, count: float) -> Tensor:
    return pixels[torch.arange(len(pixels)) % int(count)]


def as_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


DEGRADATIONS: dict[str, tuple[Callable[[Tensor, Tensor, float], Tensor], list[float]]] = {
    "noise of SD 8, 16, 32, 64": (noisy, [8, 16, 32, 64]),
    "black and white spots, 0.5, 1, 2, 5 % of the pixels": (spotted, [0.005, 0.01, 0.02, 0.05]),
    "blur of SD 0.4, 0.6, 0.8, 1.2 pixels": (blurred, [0.4, 0.6, 0.8, 1.2]),
    "shifted by 1, 2, 3, 4 pixels": (shifted, [1, 2, 3, 4]),
    "an erased square, 2, 3, 4, 6 sixteenths wide": (erased, [2, 3, 4, 6]),
    "without 1, 2, 4, 8 classes": (without_classes, [1, 2, 4, 8]),
    "only 400, 200, 100, 50 different images": (collapsed, [400, 200, 100, 50]),
}

if __name__ == "__main__":
    with torch.no_grad():
        main()
