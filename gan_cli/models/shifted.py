"""A generator that only moves its points: distributions that do not overlap, at a known distance."""

import torch
from torch import nn

from gan_cli.shapes import Codes, Images


class Generator(nn.Module):
    """Round Gaussians of standard deviation `std`, `distance` beside the origin; its one parameter is the distance.

    Example 1 of the Wasserstein GAN (Arjovsky et al. 2017, arXiv:1701.07875), with points in place of lines. Raises
    ValueError unless a code has a number for each of the image's.
    """

    def __init__(self, *, distance: float, std: float, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        if (latent_dim, 1, 1) != image_shape:
            raise ValueError(f"model=shifted needs points of latent_dim={latent_dim} numbers: use dataset=ring")
        self.std = std
        self.distance = nn.Parameter(torch.tensor(float(distance)))

    def forward(self, codes: Codes) -> Images:
        count, width = codes.shape
        beside = torch.cat([self.distance.expand(count, 1), codes.new_zeros(count, width - 1)], 1)
        return (self.std * codes + beside)[:, :, None, None]
