"""The values that parts pass to each other, made from bare tensors."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_cli.evaluation import scoring
from gan_cli.experiment import GAN, Player
from gan_cli.game import Turn
from gan_cli.metrics.metrics import Subject
from gan_cli.shapes import Examples, Images, Latents, Outputs, Scores, unlabelled


def examples(images: Tensor, labels: Tensor | None = None) -> Examples:
    """Images under these labels, or none."""
    return Examples(images, unlabelled(len(images)) if labels is None else labels)


def latents(codes: Tensor, labels: Tensor | None = None) -> Latents:
    """Codes under these labels, or none."""
    return Latents(codes, unlabelled(len(codes)) if labels is None else labels)


def subject(images: Tensor, labels: Tensor | None = None) -> Subject:
    """Generated images to score under these labels, or none."""
    return Subject(images, unlabelled(len(images)) if labels is None else labels)


def update(player: Player, losses: dict[str, Tensor]) -> None:
    """One update of the player by these losses."""
    player.clear()
    player.differentiate(losses)
    player.optimizer.step()


def a_turn(real: Tensor, fake: Tensor, codes: Tensor | None = None) -> Turn:
    """A turn on unlabelled images; where nothing reads codes or logits, they are zeros."""
    codes = torch.zeros(len(fake), 1) if codes is None else codes
    shown = examples(real)
    real_outputs, fake_outputs = (Outputs(torch.zeros(len(images), 1)) for images in (real, fake))
    return Turn(shown, latents(codes), examples(fake), real_outputs, fake_outputs, shown)


def scores_of(gan: GAN) -> Callable[[Images], Scores]:
    """The discriminator's scores of images, which do not depend on labels."""
    score = scoring(gan)
    assert score is not None
    return score
