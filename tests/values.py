"""The values that parts pass to each other, made from bare tensors."""

import torch
from torch import Tensor

from gan_cli.game import Turn
from gan_cli.shapes import Examples, Latents, unlabelled


def examples(images: Tensor, labels: Tensor | None = None) -> Examples:
    """Images under these labels, or none."""
    return Examples(images, unlabelled(len(images)) if labels is None else labels)


def latents(codes: Tensor, labels: Tensor | None = None) -> Latents:
    """Codes under these labels, or none."""
    return Latents(codes, unlabelled(len(codes)) if labels is None else labels)


def a_turn(real: Tensor, fake: Tensor, codes: Tensor | None = None) -> Turn:
    """A turn on unlabelled images; where nothing reads codes or logits, they are zeros."""
    codes = torch.zeros(len(fake), 1) if codes is None else codes
    real_logits, fake_logits = torch.zeros(len(real), 1), torch.zeros(len(fake), 1)
    return Turn(examples(real), latents(codes), examples(fake), real_logits, fake_logits)
