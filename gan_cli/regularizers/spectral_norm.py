"""Spectral normalization (Miyato et al. 2018, arXiv:1802.05957)."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge
from torch import nn
from torch.nn.utils import parametrizations

from gan_cli.regularizers.regularizer import Constraint


@dataclass(frozen=True, kw_only=True)
class SpectralNorm(Constraint):
    """Divides every linear, convolutional and embedding weight of the discriminator by its largest singular value.

    That is equation 8; embeddings of labels as in the projection discriminator of the same authors (arXiv:1802.05637).

    The singular vectors are tracked with `num_power_iterations` at each training pass (algorithm 1).
    Raises ValueError if there is not at least one.
    """

    num_power_iterations: Annotated[int, Ge(1)]

    player = "discriminator"

    def impose(self, network: nn.Module) -> None:
        for layer in list(network.modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
                parametrizations.spectral_norm(layer, n_power_iterations=self.num_power_iterations)
