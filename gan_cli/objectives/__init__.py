"""Objectives: what the players minimise."""

from gan_cli.objectives.around import Around
from gan_cli.objectives.classification import Classification, ClassLogits
from gan_cli.objectives.drifting import Drifting
from gan_cli.objectives.fgan import FGAN
from gan_cli.objectives.gradient_normalization import GradientNormalization
from gan_cli.objectives.hinge import Hinge
from gan_cli.objectives.lsgan import LSGAN
from gan_cli.objectives.mcgan import MCGAN
from gan_cli.objectives.objective import Objective
from gan_cli.objectives.realness import Realness
from gan_cli.objectives.relativistic import Relativistic
from gan_cli.objectives.san import SAN
from gan_cli.objectives.semi_supervised import SemiSupervised
from gan_cli.objectives.stdgan import StdGAN
from gan_cli.objectives.wasserstein import Wasserstein

__all__ = [
    "FGAN",
    "LSGAN",
    "MCGAN",
    "SAN",
    "Around",
    "ClassLogits",
    "Classification",
    "Drifting",
    "GradientNormalization",
    "Hinge",
    "Objective",
    "Realness",
    "Relativistic",
    "SemiSupervised",
    "StdGAN",
    "Wasserstein",
]
