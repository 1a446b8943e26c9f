"""The generator of a model that only classifies."""

from torch import Tensor, nn


class NoGenerator(nn.Module):
    """Has no weights and makes no images: a run has one player."""

    def forward(self, codes: Tensor) -> Tensor:
        raise RuntimeError("this model has no generator")
