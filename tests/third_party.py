"""Parts as another package brings them: each is named in a config by its `_target_`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.augmentations import Augmentation
from gan_cli.game import Game, Turn
from gan_cli.objectives import Objective
from gan_cli.regularizers import Regularizer, SpectralNorm
from gan_cli.shapes import Images, Logits, Loss, Scores
from gan_cli.trackers import Tracked, Tracker


def node(name: str, **settings: object) -> str:
    """The override value that names a class, of this module unless it is dotted."""
    target = name if "." in name else f"{__name__}.{name}"
    return "{" + ", ".join([f"_target_: {target}", *(f"{key}: {value}" for key, value in settings.items())]) + "}"


def chosen(place: str, name: str, **settings: object) -> list[str]:
    """The overrides that put a class of this module in the place of what a config has there."""
    removed = [] if place.startswith("regularizer.") else [f"~{place}"]
    return [*removed, f"+{place}={node(name, **settings)}"]


@dataclass(frozen=True, kw_only=True)
class GeneratorSpectralNorm(SpectralNorm):
    """Spectral normalization of the generator."""

    player = "generator"


class TwoSpeedAdam(torch.optim.Adam):
    """Adam that trains biases at a rate of their own, and everything else at `lr`."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        bias_lr: float = 1e-3,
    ) -> None:
        given = list(params)
        weights = [parameter for parameter in given if parameter.ndim > 1]
        biases = [parameter for parameter in given if parameter.ndim == 1]
        super().__init__([{"params": weights}, {"params": biases, "lr": bias_lr}], lr=lr, betas=betas)


@dataclass(frozen=True, kw_only=True)
class Mean(Objective):
    """The mean of several objectives of one outcome."""

    parts: list[Objective]

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return torch.stack([part.discriminator_loss(real_logits, fake_logits) for part in self.parts]).mean()

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return torch.stack([part.generator_loss(real_logits, fake_logits) for part in self.parts]).mean()


@dataclass(frozen=True, kw_only=True)
class Named(Objective):
    """The sum of several objectives of one outcome, each under a name."""

    parts: dict[str, Objective]

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        return torch.stack([part.discriminator_loss(real_logits, fake_logits) for part in self.parts.values()]).sum()

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        return torch.stack([part.generator_loss(real_logits, fake_logits) for part in self.parts.values()]).sum()


class RunningCenter(Regularizer, nn.Module):
    """Pulls the mean score of real images towards its own moving average, as LeCam's regularizer does."""

    player = "discriminator"
    center: Tensor

    def __init__(self, *, weight: float, every: int) -> None:
        nn.Module.__init__(self)
        Regularizer.__init__(self, weight=weight, every=every)
        self.register_buffer("center", torch.zeros(()))

    def penalty(self, game: Game, turn: Turn) -> Loss:
        assert turn.real_logits is not None
        return (game.objective.score(turn.real_logits).mean() - self.center).square()

    def after_turn(self, turn: Turn) -> None:
        if turn.real_logits is not None:
            self.center.lerp_(turn.real_logits.detach().mean(), 0.1)


class GrowingNoise(Augmentation, nn.Module):
    """Noise that grows while the discriminator tells real images from generated ones, in the manner of ADA."""

    scale: Tensor

    def __init__(self, *, start: float) -> None:
        nn.Module.__init__(self)
        self.register_buffer("scale", torch.tensor(start))

    def __call__(self, images: Images) -> Images:
        return images + self.scale * torch.randn_like(images)

    def after_turn(self, turn: Turn) -> None:
        if turn.real_logits is not None:
            certainty: Scores = turn.real_logits.detach().sign().squeeze(1)
            self.scale.add_(0.01 * certainty.mean()).clamp_(min=0)


@dataclass(kw_only=True)
class Lines(Tracker):
    """Writes a line for everything it is told, and raises at what `fails` names."""

    path: str
    fails: str

    def start(self, run: Tracked) -> None:
        self.write("start", run.id, run.name, run.group, "again" if run.resumed else "first", run.config["steps"])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.write("log", step, *sorted(values))

    def log_image(self, step: int, name: str, picture: Path) -> None:
        self.write("image", step, name, picture.read_bytes()[1:4].decode())

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.write("finish", summary["status"], summary["step"])

    def write(self, moment: str, *what: object) -> None:
        if moment == self.fails:
            raise ConnectionError("the server is gone")
        with open(self.path, "a") as file:
            print(moment, *what, file=file)


@dataclass(kw_only=True)
class Absent(Lines):
    package = "surely_absent"
