"""Latent samplers: where latents come from."""

from gan_cli.latent_samplers.gaussian import Gaussian
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.latent_samplers.uniform import Uniform

__all__ = ["Gaussian", "LatentSampler", "Uniform"]
