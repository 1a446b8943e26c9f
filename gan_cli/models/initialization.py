"""Initial weights that several models share."""

from torch import nn


def xavier(layer: nn.Module, gain: float) -> None:
    """Uniform weights whose variance is gain^2 2 / (fan in + fan out), biases of 0 (Glorot and Bengio 2010).

    Layers without a weight matrix, and batch norm, stay as they are.
    """
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(layer.weight, gain)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
