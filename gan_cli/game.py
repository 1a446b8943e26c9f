"""The game of two networks, and the only calls of them: labels, precision, augmentation and counts are handled here."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.augmentations.none import NoAugmentation
from gan_cli.engine import Engine, single_precision
from gan_cli.errors import one_line
from gan_cli.isolation import frozen_buffers, kept_buffers, random_stream
from gan_cli.networks import (
    has_weights,
    input_of_last_linear,
    is_conditional,
    predicts_classes,
    shifted_styles,
    synthesis_of,
    takes_pairs,
)
from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Examples, Features, Labels, Latents, Logits, Loss, Outputs, Scores, Turn
from gan_cli.work import doing

__all__ = ["Game", "Passes", "Turn"]


@dataclass
class Passes:
    """The number of images passed through each network, and of codes that a gradient is taken with respect to."""

    generator: int = 0
    discriminator: int = 0
    gradient: int = 0


@dataclass(frozen=True)
class Compiled:
    """Both networks as they are called where they are differentiated once; one that does not compile is itself."""

    generator: Callable[..., Any]
    discriminator: Callable[..., Any]


@dataclass(frozen=True)
class Game:
    """Two networks and their objective; nothing else calls a network."""

    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    augmentation: Augmentation = NoAugmentation()
    engine: Engine = Engine()
    passes: Passes = field(default_factory=Passes)
    compiled: Compiled | None = None
    joins: bool = False  # real and generated images share a pass of the discriminator: only where it judges each alone

    @property
    def conditional(self) -> bool:
        """Whether a network takes labels."""
        return is_conditional(self.generator) or is_conditional(self.discriminator)

    @property
    def classifies(self) -> bool:
        """Whether the discriminator has a logit for each class."""
        return self.objective.logits_are_classes or predicts_classes(self.discriminator)

    @property
    def called(self) -> "Game | Compiled":
        """What holds the networks to call: penalties and searches may differentiate twice, so they are not compiled."""
        return self if self.compiled is None or single_precision.get() else self.compiled

    def compiling(self, latents: Latents, real: Examples) -> "Game":
        """The game with compiled networks; both pass a batch and a gradient first, and nothing of that is left.

        A network that cannot be compiled is said in one warning, and stays as it is.
        """
        plain = Compiled(self.generator, self.discriminator)
        made = replace(self, compiled=plain, passes=Passes())
        passes: dict[str, Callable[[Game], Tensor]] = {
            "generator": lambda game: game.generate(latents).images,
            "discriminator": lambda game: game.outputs(real).logits,
        }
        for name, passed in passes.items():
            network: nn.Module = getattr(self, name)
            if not has_weights(network):
                continue
            before = made
            try:
                made = replace(made, compiled=replace(made.compiled or plain, **{name: self.engine.compiled(network)}))
                with self.random_stream("compiling"), kept_buffers(network), doing(f"compiling the {name}"):
                    weights = [weight for weight in network.parameters() if weight.requires_grad]
                    torch.autograd.grad(passed(made).sum(), weights, allow_unused=True)
            except Exception as error:
                warnings.warn(f"engine.compile=true, but the {name} cannot be: {one_line(error)}", stacklevel=2)
                made = before
        return replace(made, passes=self.passes)

    def generate(self, latents: Latents) -> Examples:
        """The generator's images, with the labels of the latents."""
        self.passes.generator += len(latents)
        self.passes.gradient += len(latents) * (latents.codes.requires_grad and torch.is_grad_enabled())
        given = with_partners(latents) if takes_pairs(self.generator) else latents
        with self.engine.computing():
            images = self.called.generator(*arguments(self.generator, given.codes, given.labels))
        return Examples(self.engine.returned(images), latents.labels)

    @property
    def style_shape(self) -> tuple[int, int]:
        """Layers and width of the generator's styles; raises ValueError for a generator without styles."""
        layers, width = synthesis_of(self.generator).style_shape  # type: ignore[misc]
        return int(layers), int(width)

    def generate_shifted(self, latents: Latents, shift: Tensor) -> Examples:
        """As `generate`, with `shift` [batch, layers, width] added to the styles; raises ValueError without styles."""
        with shifted_styles(self.generator, shift):
            return self.generate(latents)

    def outputs(self, shown: Examples) -> Outputs:
        """What the discriminator makes of the augmented images."""
        self.passes.discriminator += len(shown)
        images = self.augmentation(shown.images)  # in float32: positions and colours need its digits
        with self.engine.computing():
            made = self.called.discriminator(*arguments(self.discriminator, images, shown.labels))
        outputs = made if isinstance(made, Outputs) else Outputs(made)
        outputs = outputs.each(self.engine.returned)
        return replace(outputs, class_logits=outputs.logits) if self.objective.logits_are_classes else outputs

    def both_outputs(self, real: Examples, fake: Examples) -> tuple[Outputs, Outputs]:
        """Outputs for real and for generated images, of one pass if that makes no difference."""
        if not self.joins:
            return self.outputs(real), self.outputs(fake)
        both = self.outputs(Examples.cat([real, fake]))
        return both.rows(slice(len(real))), both.rows(slice(len(real), None))

    def judges_alone(self, pair: Examples) -> bool:
        """Whether the discriminator's outputs for an image do not depend on the rest of the batch, as with batch norm.

        Whatever is computed from NaN is NaN, so that one image of NaN shows it, also where a weight is zero.
        """
        spoilt = pair.images.clone()
        spoilt[1:] = math.nan
        with torch.no_grad(), self.isolated("judges alone"), kept_buffers(self.discriminator):
            outputs = self.outputs(pair.with_images(spoilt)).rows(slice(1))
        return all(bool(value.isfinite().all()) for value in vars(outputs).values() if value is not None)

    def judge(self, shown: Examples) -> Logits:
        """The discriminator's raw outputs for the augmented images, as the objective reads them."""
        return self.outputs(shown).logits

    def features(self, shown: Examples) -> Features:
        """What the discriminator's last linear layer reads; raises ValueError for a network without one."""
        with input_of_last_linear(self.discriminator) as seen:
            self.outputs(shown)
        return self.engine.returned(seen[-1])

    def score(self, shown: Examples) -> Scores:
        """One number for each image: how real the discriminator judges it to be."""
        return self.objective.score(self.judge(shown))

    def supervised_loss(self, labelled: Examples) -> Loss | None:
        """The discriminator's loss on images with labels; None for an objective that has none."""
        return self.objective.supervised_loss(self.judge(labelled), labelled.labels)

    def discriminator_loss(self, real: Examples, fake: Examples) -> Loss:
        return self.objective.discriminator_loss(self.judge(real), self.judge(fake))

    def generator_loss(
        self, real_logits: Logits | None, fake_logits: Logits, real_labels: Labels, fake_labels: Labels
    ) -> Loss:
        """The generator's adversarial loss; labels count only where a network takes them."""
        if not self.conditional:
            return self.objective.generator_loss(real_logits, fake_logits)
        return self.objective.generator_loss_by_class(real_logits, fake_logits, real_labels, fake_labels)

    def real_outputs(self, real: Examples | None) -> Outputs | None:
        """Outputs for real images for the generator's loss, without a gradient; None if the objective reads none."""
        if not self.objective.generator_reads_real:
            return None
        if real is None:
            raise ValueError(f"the generator's loss of {type(self.objective).__name__} reads real images")
        with torch.no_grad():
            return self.outputs(real)

    def generator_loss_against(self, real: Examples | None) -> Callable[[Latents], Loss]:
        """The generator's adversarial loss as a function of latents; the real images are judged only once."""
        outputs = self.real_outputs(real)
        real_logits = None if outputs is None else outputs.logits

        def loss(latents: Latents) -> Loss:
            labels = latents.labels if real is None else real.labels  # without real images nothing reads these
            return self.generator_loss(real_logits, self.judge(self.generate(latents)), labels, latents.labels)

        return loss

    def everywhere(self, *outputs: Outputs) -> tuple[Outputs, ...]:
        """Outputs for the images of all processes that train together, in one order; as many for each of these."""
        if self.engine.ranks.size == 1:
            return outputs
        own = [made.tensors() for made in outputs]
        found = iter(self.engine.ranks.rows(*(tensor for tensors in own for tensor in tensors.values())))
        pairs = zip(outputs, own, strict=True)
        return tuple(replace(made, **{name: next(found) for name in tensors}) for made, tensors in pairs)

    def rows_everywhere(self, rows: Tensor) -> Tensor:
        """The rows of all processes that train together, for a mean over the whole batch or a comparison within it."""
        return self.engine.ranks.rows(rows)[0]

    @contextmanager
    def isolated(self, key: str) -> Iterator[None]:
        """Inside, both networks keep their buffers and compute in float32, whatever the engine's precision.

        Random draws come from a separate stream that `key` selects.
        """
        with self.random_stream(key), self.engine.single(), frozen_buffers(self.generator, self.discriminator):
            yield

    @contextmanager
    def random_stream(self, key: str) -> Iterator[None]:
        with random_stream(key, self.engine):
            yield


def arguments(network: nn.Module, inputs: Tensor, labels: Labels) -> Sequence[Tensor]:
    """What the network is called with: only a conditional one is given labels."""
    return (inputs, labels) if is_conditional(network) else (inputs,)


def with_partners(latents: Latents) -> Latents:
    """The latents, then for each image the code of the one before it in the batch, under its own label."""
    return Latents.cat([latents, latents.with_codes(latents.codes.detach().roll(1, 0))])
