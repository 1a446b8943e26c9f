"""The moving average of the generator's weights: what is scored and drawn."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def follow(average: nn.Module, source: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * source, running statistics included; counters are copied."""
    pairs = list(zip(tensors(average), tensors(source), strict=True))
    floating = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
    torch._foreach_lerp_([mean for mean, _ in floating], [value for _, value in floating], 1 - decay)
    for mean, value in pairs:
        if not mean.is_floating_point():
            mean.copy_(value)


def tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
