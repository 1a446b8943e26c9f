"""Counting the modes of stacked digits (Srivastava et al. 2017, VEEGAN, arXiv:1705.07761, section 5.2)."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import torch
from annotated_types import Ge

from gan_cli.data import TrainingSet
from gan_cli.metrics.extractor import Extractor, LoadedExtractor
from gan_cli.metrics.features import extract
from gan_cli.metrics.metrics import Metrics, Protocol, Scorer, Subject
from gan_cli.seeding import mix
from gan_cli.shapes import Stored
from gan_cli.work import in_background


@dataclass(frozen=True, kw_only=True)
class StackedModes(Metrics):
    """A mode is a triple of classes, one for each channel, as the extractor classifies it."""

    extractor: Extractor
    batch_size: Annotated[int, Ge(1)]

    def against(self, training_set: TrainingSet, num_fake: int) -> "StackedScorer":
        extractor = self.extractor.load().to(training_set.device)
        if training_set.values.dtype != torch.uint8 or training_set.image_shape[0] != 3 or not extractor.num_classes:
            raise ValueError(
                "these metrics classify the three channels of stacked digits: use dataset=stacked_digits or "
                "stacked_mnist, or the data set's own metrics"
            )
        order = torch.randperm(len(training_set), generator=torch.Generator().manual_seed(mix("floor")))
        rows = order[:num_fake].to(training_set.values.device)
        return StackedScorer(self, extractor, training_set.values[rows], num_fake)


@dataclass(frozen=True)
class StackedScorer(Scorer):
    metrics: StackedModes
    extractor: LoadedExtractor
    real: Stored  # as many as generated ones, if there are so many
    num_fake: int

    leading = "mode_kl"
    headlines = ("mode_kl", "modes")
    directions = MappingProxyType({"mode_kl": "lower", "modes": "higher"})

    @property
    def weights_families(self) -> list[str]:  # type: ignore[override]
        family = self.metrics.extractor.weights_family
        return [] if family is None else [family]

    @property
    def num_modes(self) -> int:
        return self.extractor.num_classes**3

    @property
    def protocol(self) -> Protocol:
        """`mode_kl_of_sampling` is what as many images of exactly uniform modes have on average, to first order."""
        return {
            "num_real": len(self.real),
            "extractor": self.extractor.name,
            "extractor_sha256": self.extractor.weights_sha256,
            "mode_kl_of_sampling": round((self.num_modes - 1) / (2 * self.num_fake), 6),
        }

    def score(self, subject: Subject) -> dict[str, float]:
        """`mode_kl`, the KL divergence in nats of the images' shares over the modes from the uniform one; `modes`."""
        return self.count(subject.images, "generated")

    def count(self, images: Stored, whose: str) -> dict[str, float]:
        channels = images.flatten(0, 1)[:, None]
        found = in_background(f"classes of {whose} digits", extract, self.extractor, channels, self.metrics.batch_size)
        classes = found.logits.argmax(1).unflatten(0, (len(images), 3))
        number = (classes * torch.tensor([self.extractor.num_classes**place for place in (2, 1, 0)])).sum(1)
        shares = number.bincount(minlength=self.num_modes).double() / len(images)
        divergence = torch.special.xlogy(shares, shares * self.num_modes).sum().item()
        return {"mode_kl": divergence, "modes": float((shares > 0).sum())}

    def floor(self) -> dict[str, float]:
        """Of as many real images, which says how often the extractor is wrong, and what sampling alone does."""
        return self.count(self.real, "real")
