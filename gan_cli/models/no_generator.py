"""The generator of a model that only classifies."""

from torch import Tensor, nn


class NoGenerator(nn.Module):
    """Has no weights and makes no images: a run has one player. It takes what every generator is given."""

    def __init__(self, *, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()

    def forward(self, codes: Tensor) -> Tensor:
        raise RuntimeError("this model has no generator")
