"""Objectives: what the two players minimise."""

from gan_cli.objectives.hinge import Hinge
from gan_cli.objectives.objective import Objective
from gan_cli.objectives.realness import Realness
from gan_cli.objectives.stdgan import StdGAN
from gan_cli.objectives.wasserstein import Wasserstein

__all__ = ["Hinge", "Objective", "Realness", "StdGAN", "Wasserstein"]
