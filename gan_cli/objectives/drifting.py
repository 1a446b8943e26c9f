"""Drifting (arXiv:2602.04770): a generator alone, whose images move along a field towards real ones and apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gan_cli.metrics.extractor import Extractor
from gan_cli.metrics.metrics import WeightsUnavailableError
from gan_cli.objectives.features import FrozenFeatures, Pixels, check_differentiable
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Labels, Logits, Loss, Scores

Points = Float[Tensor, "points dim"]
Targets = Float[Tensor, "_targets dim"]
Pairs = Float[Tensor, "points _targets"]


@dataclass(frozen=True, kw_only=True)
class Drifting(Objective):
    """The generator minimises the mean of |f(x) - sg(f(x) + V)|^2 over generated images x; sg has no gradient.

    f are the images' own numbers, or the features of an extractor. V is the sum over `temperatures` of the `field` at
    f(x), from the other generated and the real images of the batch. So the gradient is -2 V times the Jacobian of f.

    `relative` temperatures are multiples of the mean distance, in whose unit of one dimension, |.| / sqrt(dim), f is
    measured. With `normalize`, each temperature's field is divided by its root mean square over the batch: all of them
    count alike, and V does not fade as the generator nears the data. In a conditional game images are compared within
    their class, for which the batch needs two of it. `floor` is the least product of sums in `affinities`.

    Raises ValueError for a setting out of range, or `features` that no gradient flows through.
    """

    players = ("generator",)
    name_of_loss = "drifting"
    compares_images = True

    temperatures: Sequence[float]
    relative: bool
    normalize: bool
    floor: Annotated[float, Gt(0)]
    features: Extractor | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperatures or min(self.temperatures) <= 0:
            raise ValueError(f"temperatures={list(self.temperatures)} must be one or more numbers above 0")

    def prepare(self, image_shape: tuple[int, int, int]) -> None:
        with torch.device("cpu"):
            check_differentiable(self.compared(), image_shape)

    def head(self, discriminator: Callable[[int], nn.Module]) -> nn.Module:
        """f; there is no discriminator."""
        return self.compared()

    def compared(self) -> nn.Module:
        if self.features is None:
            return Pixels()
        try:
            with torch.device("cpu"):  # where its weights are read, whatever the networks are built on
                return FrozenFeatures(self.features.load())
        except WeightsUnavailableError as error:
            raise ValueError(str(error)) from error

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        assert real_logits is not None
        return self.loss(fake_logits, real_logits, apart(fake_logits, real_logits))

    def generator_loss_by_class(
        self, real_logits: Logits | None, fake_logits: Logits, real_labels: Labels, fake_labels: Labels
    ) -> Loss:
        assert real_logits is not None
        others = fake_labels[:, None] != torch.cat([fake_labels, real_labels])
        return self.loss(fake_logits, real_logits, apart(fake_logits, real_logits) | others)

    def loss(self, generated: Points, real: Targets, apart: Bool[Tensor, "points _targets"]) -> Loss:
        """`apart` are the pairs of a generated image and a generated or real one that do not affect each other."""
        with torch.no_grad():
            distances = distance(generated, torch.cat([generated, real]))
            together = ~apart
            mean = (distances * together).sum() / together.sum().clamp(min=1)
            unit = mean / math.sqrt(generated.shape[1]) if self.relative else torch.ones_like(mean)
            distances = distances.masked_fill(apart, math.inf)
            drift = torch.zeros_like(generated)
            for temperature in self.temperatures:
                width = temperature * mean if self.relative else torch.full_like(mean, temperature)
                found = field(generated, real, distances, width, self.floor)
                drift += found / root_mean_square(found) if self.normalize else found / unit
            target = generated / unit + drift
        return (generated / unit - target).square().sum(1).mean()

    def score(self, logits: Logits) -> Scores:
        raise RuntimeError("drifting has no discriminator, and so no score")

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        raise RuntimeError("drifting has no discriminator")


def distance(points: Points, targets: Targets) -> Pairs:
    """Euclidean, without the matrix product that loses the digits of small ones."""
    return torch.cdist(points, targets, compute_mode="donot_use_mm_for_euclid_dist")


def apart(generated: Points, real: Targets) -> Bool[Tensor, "points _targets"]:
    """Each generated image does not affect itself."""
    count = len(generated)
    return torch.eye(count, count + len(real), dtype=torch.bool, device=generated.device)


def affinities(distances: Pairs, temperature: Float[Tensor, ""], floor: float) -> Pairs:
    """k / sqrt(row sum * column sum) for k = exp(-distance / `temperature`); infinitely distant pairs have none.

    The product of sums is at least `floor`, which keeps points far from all targets where they are.
    """
    logits = -distances / temperature
    sums = logits.logsumexp(1, keepdim=True) + logits.logsumexp(0, keepdim=True)
    return (logits - sums.clamp(min=math.log(floor)) / 2).exp()


def field(generated: Targets, real: Targets, distances: Pairs, temperature: Float[Tensor, ""], floor: float) -> Points:
    """V at each of some points: towards real points, and away from generated ones (section 3 of the paper).

    `distances` are theirs to the generated, then to the real points. With the affinities A- and A+ to them,
    V = (A+ * sum A-) real - (A- * sum A+) generated, sums over a row: attraction and repulsion have equal weights, so V
    changes its sign if both sides change places, and its mean is 0 where both have one distribution.
    """
    towards_generated, towards_real = affinities(distances, temperature, floor).split([len(generated), len(real)], 1)
    pull = towards_real * towards_generated.sum(1, keepdim=True)
    push = towards_generated * towards_real.sum(1, keepdim=True)
    return pull @ real - push @ generated


def root_mean_square(values: Tensor) -> Tensor:
    """Of all values, also where their squares are too small for their type; 1 if all are 0."""
    largest = values.abs().amax()
    found = largest * (values / largest.clamp(min=torch.finfo(values.dtype).tiny)).square().mean().sqrt()
    return torch.where(largest > 0, found, torch.ones_like(found))
