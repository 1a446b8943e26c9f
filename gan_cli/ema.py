"""The moving average of the generator's weights, which is scored and drawn."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_ema(average: nn.Module, source: nn.Module, decay: float | Tensor) -> None:
    """average <- decay * average + (1 - decay) * source, running statistics included.

    A decay in a tensor may change between repetitions of a captured graph. Counters and the buffers of parametrizations
    are copied: spectral norm's singular vectors cannot be averaged.
    """
    pairs = list(zip(tensors(average), tensors(source), strict=True))
    names = [*(name for name, _ in source.named_parameters()), *(name for name, _ in source.named_buffers())]
    num_parameters = sum(1 for _ in source.parameters())
    copied = [
        not value.is_floating_point() or (number >= num_parameters and "parametrizations." in name)
        for number, (name, (_, value)) in enumerate(zip(names, pairs, strict=True))
    ]
    moving = [pair for pair, as_is in zip(pairs, copied, strict=True) if not as_is]
    if moving:  # a model may have no generator
        means, values = [mean for mean, _ in moving], [value for _, value in moving]
        if isinstance(decay, Tensor):  # lerp's own form for tensors takes one weight for each of them
            torch._foreach_add_(means, torch._foreach_mul(torch._foreach_sub(values, means), 1 - decay))
        else:
            torch._foreach_lerp_(means, values, 1 - decay)
    for (mean, value), as_is in zip(pairs, copied, strict=True):
        if as_is:
            mean.copy_(value)


def ramped_up(decay: float, step: int) -> float:
    """The decay after `step` finished steps: min(decay, (1 + step) / (10 + step)).

    The average then covers about the last tenth of a run that is still short, in place of its untrained beginning.
    """
    return min(decay, (1 + step) / (10 + step))


def tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
