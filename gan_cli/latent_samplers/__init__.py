"""Latent samplers: where latents come from."""

from gan_cli.latent_samplers.advlat_div import AdvLatDiv
from gan_cli.latent_samplers.advlat_qua import AdvLatQua
from gan_cli.latent_samplers.advlat_z import AdvLatZ
from gan_cli.latent_samplers.ddls import DDLS
from gan_cli.latent_samplers.drs import DRS
from gan_cli.latent_samplers.gaussian import Gaussian
from gan_cli.latent_samplers.label_pairs import LabelPairs
from gan_cli.latent_samplers.latent_sampler import LatentSampler, Refinement
from gan_cli.latent_samplers.logan import LOGAN
from gan_cli.latent_samplers.mh import MH
from gan_cli.latent_samplers.truncated_gaussian import TruncatedGaussian
from gan_cli.latent_samplers.uniform import Uniform

__all__ = [
    "DDLS",
    "DRS",
    "LOGAN",
    "MH",
    "AdvLatDiv",
    "AdvLatQua",
    "AdvLatZ",
    "Gaussian",
    "LabelPairs",
    "LatentSampler",
    "Refinement",
    "TruncatedGaussian",
    "Uniform",
]
