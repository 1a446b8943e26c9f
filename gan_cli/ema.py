"""The moving average of the generator's weights, which is scored and drawn."""

import torch
from torch import Tensor, nn


class MovingAverage:
    """average <- decay * average + (1 - decay) * source at each update, running statistics included.

    Counters and the buffers of parametrizations are copied: spectral norm's singular vectors cannot be averaged.
    """

    def __init__(self, average: nn.Module, source: nn.Module) -> None:
        named = zip([*source.named_parameters(), *source.named_buffers()], tensors(average), strict=True)
        self.moving, self.copied = list[tuple[Tensor, Tensor]](), list[tuple[Tensor, Tensor]]()
        for (name, value), mean in named:
            of_a_norm = "parametrizations." in name and not isinstance(value, nn.Parameter)
            (self.copied if of_a_norm or not value.is_floating_point() else self.moving).append((mean, value))

    @torch.no_grad()
    def update(self, decay: float | Tensor) -> None:
        """A decay in a tensor may change between repetitions of a captured graph."""
        if self.moving:  # a model may have no generator
            means, values = [mean for mean, _ in self.moving], [value for _, value in self.moving]
            if isinstance(decay, Tensor):  # lerp's own form for tensors takes one weight for each of them
                torch._foreach_add_(means, torch._foreach_mul(torch._foreach_sub(values, means), 1 - decay))
            else:
                torch._foreach_lerp_(means, values, 1 - decay)
        for mean, value in self.copied:
            mean.copy_(value)


def ramped_up(decay: float, step: int) -> float:
    """The decay after `step` finished steps: min(decay, (1 + step) / (10 + step)).

    The average then covers about the last tenth of a run that is still short, in place of its untrained beginning.
    """
    return min(decay, (1 + step) / (10 + step))


def tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
