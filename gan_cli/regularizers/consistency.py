"""Consistency of the score under transformations, CR (Zhang et al. 2020, arXiv:1910.12027) and bCR."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor
from torch.nn.functional import pad

from gan_cli.augmentations.flip import mirrored
from gan_cli.game import Game, Turn
from gan_cli.regularizers.regularizer import Regularizer, check_generates
from gan_cli.shapes import Examples, Images, Loss, Outputs


@dataclass(frozen=True, kw_only=True)
class Consistency(Regularizer):
    """The mean of (v(x) - v(T x))^2, with v the objective's score.

    T mirrors half of the images if `flip` says so, and moves each by up to `shift` of its size in either direction,
    with its own reflection at the borders; a point, which has one pixel, stays as it is. `images` says of which: `real`
    is CR (equation 2); `both`, the sum over real and generated images, is bCR (Zhao et al. 2021, arXiv:2002.04724,
    algorithm 1), which keeps what T does out of the samples. Generated images carry no gradient.

    Raises ValueError for a shift outside [0, 0.5].
    """

    images: Literal["real", "fake", "both"]
    flip: bool
    shift: Annotated[float, Interval(ge=0, le=0.5)]

    player = "discriminator"

    def check(self, game: Game) -> None:
        if self.images != "real":
            check_generates(game)

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_outputs is not None
        sides = {"real": (turn.real, turn.real_outputs), "fake": (turn.fake, turn.fake_outputs)}
        chosen = sides.values() if self.images == "both" else [sides[self.images]]
        return torch.stack([self.inconsistency(game, *side) for side in chosen]).sum()

    def inconsistency(self, game: Game, shown: Examples, outputs: Outputs) -> Loss:
        moved = shown.with_images(transformed(shown.images.detach(), flip=self.flip, shift=self.shift))
        return (game.objective.score(outputs.logits) - game.score(moved)).square().mean()


def transformed(images: Images, *, flip: bool, shift: float) -> Images:
    """Each image mirrored with probability 1/2 if `flip`, then moved by up to floor(shift size) pixels.

    What comes in at the borders is the image reflected there.
    """
    count, _, height, width = images.shape
    if flip:
        images = mirrored(images)
    down, right = int(shift * height), int(shift * width)
    padded = pad(images, (right, right, down, down), mode="reflect").permute(0, 2, 3, 1)
    rows, columns = window(down, height, count, images.device), window(right, width, count, images.device)
    image = torch.arange(count, device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def window(reach: int, length: int, count: int, device: torch.device) -> Tensor:
    """For each image the numbers of `length` neighbouring lines, of `length + 2 reach`: [count, length]."""
    return torch.randint(2 * reach + 1, (count, 1), device=device) + torch.arange(length, device=device)
