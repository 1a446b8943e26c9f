"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv:2006.06676)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from gan_cli.augmentations.augmentation import Augmentation, check_pixels
from gan_cli.augmentations.warping import filtered, product, resampled, rotation, scaling, shift
from gan_cli.objectives.objective import Objective
from gan_cli.schedule import Schedule
from gan_cli.shapes import Images, Scores, Turn

Share = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class ADA(Augmentation):
    """Each operation changes an image with probability `p` times its own factor, in the order of the fields.

    Those up to `fractional_shift` are one affine map of the pixels, reflected at the border: images are upsampled with
    the wavelet, interpolated linearly and downsampled, and where the map takes pixels to pixels these are only moved.
    The others up to `saturation` are one affine map of the colours (appendix B); a grey image has brightness and
    contrast alone. `cutout` sets a square of half the image's size to 0.

    Where `p` is adaptive it starts at 0. After every `adjust_every` steps it moves up if the mean sign of the scores
    of real images is above `target`, else down, by the images that were judged over `images_to_one` (section 3.2, with
    r_t), and stays in [0, 1]. The sign is that of the score less the objective's `undecided_score`.

    Raises ValueError for a number outside its range, for images without pixels, and where `p` is adaptive for an
    objective without an undecided score.
    """

    p: Share | Literal["adaptive"] | Schedule
    target: Annotated[float, Interval(ge=-1, le=1)]
    adjust_every: Annotated[int, Ge(1)]
    images_to_one: Annotated[int, Ge(1)]
    x_flip: Share
    rotate90: Share
    integer_shift: Share
    scale: Share
    rotate: Share
    anisotropic_scale: Share
    fractional_shift: Share
    brightness: Share
    contrast: Share
    luma_flip: Share
    hue: Share
    saturation: Share
    cutout: Share
    present: "Present | None" = field(init=False, default=None, repr=False, compare=False)

    def prepare(self, image_shape: tuple[int, int, int], objective: Objective) -> None:
        check_pixels(image_shape)
        if isinstance(self.p, Schedule):
            object.__setattr__(self, "present", Present(self.p.at(0)))
        elif self.p == "adaptive":
            undecided = objective.undecided_score()
            if undecided is None:
                raise ValueError(
                    f"p=adaptive follows how many real images score above an undecided one, and "
                    f"{type(objective).__name__} has no such score: set augmentation.p to a number or a schedule"
                )
            object.__setattr__(self, "present", Adaptive(objective.score, undecided))

    def before_step(self, device: torch.device, step: int) -> None:
        if isinstance(self.p, Schedule):
            assert self.present is not None
            self.present.p.fill_(self.p.at(step))
        elif isinstance(self.present, Adaptive):
            self.present.adjust(self.target, self.adjust_every, self.images_to_one)

    def after_turn(self, turn: Turn) -> None:
        if isinstance(self.present, Adaptive) and turn.real_logits is not None:
            self.present.see(turn.real_logits.detach())

    def __call__(self, images: Images) -> Images:
        if self.p == 0:
            return images
        draws = Draws(images, self.p if self.present is None else self.present.p)  # type: ignore[arg-type]
        return self.cut(draws, self.recoloured(draws, self.warped(draws, images)))

    def warped(self, draws: "Draws", images: Images) -> Images:
        """All maps of the pixels, as one."""
        height, width = images.shape[2:]
        pixels = self.map_of_pixels(draws, height, width)
        moved = resampled(images, pixels)
        if not any((self.scale, self.rotate, self.anisotropic_scale, self.fractional_shift)):
            return moved
        between, active = self.map_between_pixels(draws, height, width)
        return torch.where(active[:, None, None, None], filtered(images, product(pixels, between)), moved)

    def map_of_pixels(self, draws: "Draws", height: int, width: int) -> Tensor:
        """The inverse of the maps that take pixels to pixels, [batch, 3, 3]; the image's centre is 0."""
        mirror = 1 - 2 * torch.where(draws.active(self.x_flip), draws.integers(2), 0)
        angle = torch.where(draws.active(self.rotate90), draws.integers(4), 0) * (math.pi / 2)
        active = draws.active(self.integer_shift)
        x, y = (torch.where(active, (size * draws.uniform(-0.125, 0.125)).round(), 0) for size in (width, height))
        return reduce(product, [scaling(mirror, torch.ones_like(mirror)), rotation(-angle), shift(-x, -y)])

    def map_between_pixels(self, draws: "Draws", height: int, width: int) -> tuple[Tensor, Tensor]:
        """The inverse of all further maps, [batch, 3, 3], and which images they change.

        Each of the two rotations has the probability with which either of them happens with p.
        """
        p_rotate = 1 - (1 - draws.p * self.rotate) ** 0.5
        rotates = [draws.happens(p_rotate) for _ in range(2)]
        angles = [torch.where(active, draws.uniform(-math.pi, math.pi), 0) for active in rotates]
        scales, stretches = draws.active(self.scale), draws.active(self.anisotropic_scale)
        size, ratio = (torch.where(active, 2 ** (0.2 * draws.normal()), 1) for active in (scales, stretches))
        shifts = draws.active(self.fractional_shift)
        x, y = (torch.where(shifts, 0.125 * side * draws.normal(), 0) for side in (width, height))
        inverses = [scaling(1 / size, 1 / size), rotation(-angles[0]), scaling(1 / ratio, ratio), rotation(-angles[1])]
        return reduce(product, [*inverses, shift(-x, -y)]), scales | rotates[0] | stretches | rotates[1] | shifts

    def recoloured(self, draws: "Draws", images: Images) -> Images:
        """All maps of the colours, x to A (x + b)."""
        offset = torch.where(draws.active(self.brightness), 0.2 * draws.normal(), 0)
        gain = torch.where(draws.active(self.contrast), 2 ** (0.5 * draws.normal()), 1)
        images = (images + offset[:, None, None, None]) * gain[:, None, None, None]
        if images.shape[1] != 3 or not any((self.luma_flip, self.hue, self.saturation)):
            return images
        flips = torch.where(draws.active(self.luma_flip), draws.integers(2), 0)
        angle = torch.where(draws.active(self.hue), draws.uniform(-math.pi, math.pi), 0)
        saturation = torch.where(draws.active(self.saturation), 2 ** draws.normal(), 1)
        maps = reduce(product, [saturating(saturation), hue_rotation(angle), luma_flip(flips)])
        return (maps[:, :, :, None, None] * images[:, None]).sum(2)

    def cut(self, draws: "Draws", images: Images) -> Images:
        """A square of half the image's size is 0; its centre is anywhere in the image."""
        if not self.cutout:
            return images
        active = draws.active(self.cutout)
        rows, columns = (
            ((torch.arange(size, device=images.device) + 0.5) / size - draws.uniform(0.0, 1.0)[:, None]).abs() < 0.25
            for size in images.shape[2:]
        )
        inside = active[:, None, None, None] & rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(inside, 0.0, images)


class Present(nn.Module):
    """The value of p in the present step."""

    p: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(p))


class Adaptive(Present):
    """p, and what was seen since it was last adjusted: the sum of signs, and the numbers of images and of steps."""

    signs: Tensor
    images: Tensor
    steps: Tensor

    def __init__(self, score: Callable[[Tensor], Scores], undecided: float) -> None:
        super().__init__(0.0)
        self.score, self.undecided = score, undecided
        for name in ("signs", "images", "steps"):
            self.register_buffer(name, torch.zeros(()))

    def see(self, real_logits: Tensor) -> None:
        signs = (self.score(real_logits) - self.undecided).sign()
        self.signs.add_(signs.sum())
        self.images.add_(len(signs))

    def adjust(self, target: float, every: int, images_to_one: int) -> None:
        """Before each step; nothing is read on the host, so that a captured step adjusts when it is due."""
        due = self.steps >= every
        direction = (self.signs / self.images.clamp(min=1) - target).sign()
        self.p.add_(due * direction * self.images / images_to_one).clamp_(0, 1)
        for counter in (self.signs, self.images, self.steps):
            counter.mul_(~due)
        self.steps.add_(1)


class Draws:
    """Random numbers for a batch, one for each image, and whether an operation happens to it."""

    def __init__(self, images: Images, p: float | Tensor) -> None:
        self.p = p
        self.like = images.new_empty(len(images))

    def happens(self, probability: float | Tensor) -> Tensor:
        return torch.rand_like(self.like) < probability

    def active(self, factor: float) -> Tensor:
        return self.happens(self.p * factor)

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand_like(self.like)

    def normal(self) -> Tensor:
        return torch.randn_like(self.like)

    def integers(self, count: int) -> Tensor:
        """From 0 to count - 1, as floating point numbers."""
        return (count * torch.rand_like(self.like)).floor().clamp(max=count - 1)


# Maps of colours: the grey axis is (1, 1, 1) / sqrt 3, and the projection onto it has 1/3 everywhere


def identity(like: Tensor) -> Tensor:
    return torch.eye(3, dtype=like.dtype, device=like.device)


def luma_flip(flips: Tensor) -> Tensor:
    """The reflection that turns grey x into -x, where `flips` is 1; nothing where it is 0."""
    return identity(flips) - 2 / 3 * flips[:, None, None]


def hue_rotation(angle: Tensor) -> Tensor:
    """The rotation about the grey axis (Rodrigues' formula)."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    cyclic = identity(angle).roll(1, 0)  # takes red to green, green to blue, blue to red
    return cos * identity(angle) + sin / math.sqrt(3) * (cyclic - cyclic.T) + (1 - cos) / 3


def saturating(factor: Tensor) -> Tensor:
    """Scales what is orthogonal to the grey axis."""
    factor = factor[:, None, None]
    return factor * identity(factor) + (1 - factor) / 3
