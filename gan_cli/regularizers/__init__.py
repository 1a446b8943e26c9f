"""Regularizers: penalties and constraints on a player."""

from gan_cli.regularizers.adversarial_training import AdversarialTraining
from gan_cli.regularizers.classification import Classification
from gan_cli.regularizers.consistency import Consistency
from gan_cli.regularizers.contrastive import Contrastive
from gan_cli.regularizers.d2d_ce import D2DCE
from gan_cli.regularizers.dragan import Dragan
from gan_cli.regularizers.entropy_minimisation import EntropyMinimisation
from gan_cli.regularizers.feature_matching import FeatureMatching
from gan_cli.regularizers.gradient_penalty import GradientPenalty
from gan_cli.regularizers.latent_distance import LatentDistance
from gan_cli.regularizers.lecam import LeCam
from gan_cli.regularizers.logit_centering import LogitCentering
from gan_cli.regularizers.mode_seeking import ModeSeeking
from gan_cli.regularizers.path_length import PathLength
from gan_cli.regularizers.r1 import R1
from gan_cli.regularizers.r1_fd import R1FD
from gan_cli.regularizers.r2 import R2
from gan_cli.regularizers.r2_fd import R2FD
from gan_cli.regularizers.regularizer import Bound, Constraint, Regularizer
from gan_cli.regularizers.spectral_norm import SpectralNorm
from gan_cli.regularizers.unit_direction import UnitDirection
from gan_cli.regularizers.vat import VAT
from gan_cli.regularizers.weight_clipping import WeightClipping
from gan_cli.regularizers.zcr import ZCRDiscriminator, ZCRGenerator

__all__ = [
    "AdversarialTraining",
    "Bound",
    "Classification",
    "Consistency",
    "Constraint",
    "Contrastive",
    "D2DCE",
    "Dragan",
    "EntropyMinimisation",
    "FeatureMatching",
    "GradientPenalty",
    "LatentDistance",
    "LeCam",
    "LogitCentering",
    "ModeSeeking",
    "PathLength",
    "R1",
    "R1FD",
    "R2",
    "R2FD",
    "Regularizer",
    "SpectralNorm",
    "UnitDirection",
    "VAT",
    "WeightClipping",
    "ZCRDiscriminator",
    "ZCRGenerator",
]
