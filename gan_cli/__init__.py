"""Train any GAN objective with any regularizer, latent sampler, model and data set, and compare them honestly."""

__version__ = "0.1.0"
