"""Regularizers: what keeps a player in bounds."""

from gan_cli.regularizers.gradient_penalty import GradientPenalty
from gan_cli.regularizers.r1 import R1
from gan_cli.regularizers.regularizer import Constraint, Regularizer
from gan_cli.regularizers.spectral_norm import SpectralNorm

__all__ = ["R1", "Constraint", "GradientPenalty", "Regularizer", "SpectralNorm"]
