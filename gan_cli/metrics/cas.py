"""Classification accuracy score: whether generated images can train a classifier in place of real ones.

Ravuri and Vinyals 2019 (arXiv:1905.10887). They train a ResNet-50 on ImageNet; here it is a small network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from gan_cli.data import TrainingSet
from gan_cli.metrics.classifier import NUM_FEATURES, convolutions, with_norms
from gan_cli.seeding import mix
from gan_cli.shapes import Examples, Labels, Stored
from gan_cli.work import doing, track

BATCH_SIZE = 64
HIGHEST_RATE = 2e-3  # of one cycle
WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class CAS:
    """The accuracy on `held_out` of classifiers trained on generated images, on the real ones, and on both.

    Each of `num_seeds` trainings takes `num_steps` batches of the same size, so that all cost the same. They depend on
    the seeds alone, not on the generator's own.
    """

    real: TrainingSet
    held_out: TrainingSet
    num_seeds: int
    num_steps: int

    @property
    def protocol(self) -> dict[str, int]:
        return {"seeds": self.num_seeds, "steps": self.num_steps, "num_held_out": len(self.held_out)}

    def score(self, images: Stored, labels: Labels) -> dict[str, float]:
        """`cas_mean` of generated images, `cas_real_mean` and `cas_both_mean`, with their `_std` over the seeds."""
        fake = TrainingSet(images, labels.to(images.device), device=self.real.device)
        generated = self.accuracies([fake], "generated images")
        both = self.accuracies([self.real, fake], "both")
        return summary("cas", generated) | summary("cas_real", self.of_real) | summary("cas_both", both)

    def floor(self) -> dict[str, float]:
        """What as many generated images that are as good as the real ones would score."""
        return summary("cas", self.of_real)

    @cached_property
    def of_real(self) -> list[float]:
        return self.accuracies([self.real], "real images")

    def accuracies(self, sets: Sequence[TrainingSet], whose: str) -> list[float]:
        """One for each seed, of classifiers trained on the union of the sets."""
        with doing(f"classifiers of {whose}"):
            return [self.accuracy(sets, seed) for seed in track(range(self.num_seeds), "training")]

    def accuracy(self, sets: Sequence[TrainingSet], seed: int) -> float:
        torch.manual_seed(mix("cas", seed))
        device, count = self.real.device, sum(map(len, sets))
        network = small_classifier(self.real.image_shape[0], max(self.real.num_classes, self.held_out.num_classes))
        optimizer = torch.optim.AdamW(network.to(device).parameters(), weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, HIGHEST_RATE, total_steps=self.num_steps)
        epochs = -(-self.num_steps * BATCH_SIZE // count)
        rows = torch.cat([torch.randperm(count) for _ in range(epochs)])[: self.num_steps * BATCH_SIZE]
        for chosen in track(rows.split(BATCH_SIZE), "step"):
            batch = batch_of(sets, chosen)
            loss = cross_entropy(network(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return share_correct(network.eval(), self.held_out, device)


def small_classifier(channels: int, num_classes: int) -> nn.Sequential:
    """The network of the shipped classifiers, for any number of channels and classes and any size."""
    return nn.Sequential(*with_norms(convolutions(channels)), nn.Linear(NUM_FEATURES, num_classes))


def batch_of(sets: Sequence[TrainingSet], rows: torch.Tensor) -> Examples:
    """The rows of the union of the sets, which is not made: each may be a file larger than memory."""
    parts, first = [], 0
    for each in sets:
        parts.append(each.batch(rows[(rows >= first) & (rows < first + len(each))] - first))
        first += len(each)
    return Examples.cat(parts)


@torch.no_grad()
def share_correct(network: nn.Module, held_out: TrainingSet, device: torch.device) -> float:
    correct = 0
    for rows in torch.arange(len(held_out)).split(500):
        batch = held_out.batch(rows).to(device)
        correct += int((network(batch.images).argmax(1) == batch.labels).sum())
    return correct / len(held_out)


def summary(key: str, values: Sequence[float]) -> dict[str, float]:
    """The mean, and with two values or more their standard deviation with n - 1."""
    return {f"{key}_mean": fmean(values)} | ({f"{key}_std": stdev(values)} if len(values) > 1 else {})
