"""Moving averages of the generator's weights: the one that is scored and drawn, and those with a power profile."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class MovingAverage:
    """average <- decay * average + (1 - decay) * source at each update, running statistics included.

    Counters and the buffers of parametrizations are copied: spectral norm's singular vectors cannot be averaged.
    """

    def __init__(self, average: nn.Module, source: nn.Module) -> None:
        named = zip([*source.named_parameters(), *source.named_buffers()], tensors(average), strict=True)
        self.moving, self.copied = list[tuple[Tensor, Tensor]](), list[tuple[Tensor, Tensor]]()
        trained = {name for name, _ in source.named_parameters()}
        for (name, value), mean in named:
            (self.moving if is_averaged(name, value, trained) else self.copied).append((mean, value))

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


def is_averaged(name: str, value: Tensor, trained: Collection[str]) -> bool:
    """Whether the tensor of this name in a state has a mean; `trained` are the names of parameters."""
    of_a_norm = "parametrizations." in name and name not in trained
    return value.is_floating_point() and not of_a_norm


def ramped_up(decay: float, step: int) -> float:
    """The decay after `step` finished steps: min(decay, (1 + step) / (10 + step)).

    The average then covers about the last tenth of a run that is still short, in place of its untrained beginning.
    """
    return min(decay, (1 + step) / (10 + step))


def tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


POWER_WIDTHS = (0.05, 0.1)  # of the averages that are kept for others to be rebuilt from
WIDEST = 12**-0.5  # of the uniform average, whose exponent is 0


class PowerAverage:
    """A moving average whose weights grow as a power of the step (Karras et al. 2024, arXiv:2312.02696, section 3).

    Its `width` is the standard deviation of the steps that it covers, relative to their number. It does not depend on
    its initial weights, and is always as wide in comparison with the run.
    """

    def __init__(self, average: nn.Module, source: nn.Module, width: float) -> None:
        self.average = MovingAverage(average, source)
        self.exponent = power_exponent(width)

    def update(self, step: int) -> None:
        """After step number `step`, counted from 1."""
        self.average.update((1 - 1 / step) ** (self.exponent + 1))


def power_exponent(width: float) -> float:
    """The exponent whose profile is as wide; raises ValueError for a width that none has."""
    if not 0 < width < WIDEST:
        raise ValueError(f"{width:g} must be above 0 and below {WIDEST:.3f}, the width of a uniform average")
    roots = np.roots([1.0, 7.0, 16.0 - width**-2, 12.0 - width**-2])
    return float(max(root.real for root in roots if abs(root.imag) < 1e-9))


Profile = tuple[float, int]  # exponent, and the step up to which it averages


def combined(kept: Sequence[Profile], wanted: Profile) -> tuple[list[float], float]:
    """Coefficients of the kept averages whose sum is nearest to the wanted one, and how far its profile is from that.

    The distance is relative, in the mean square over steps (Karras et al. 2024, arXiv:2312.02696, appendix C).
    """
    left = [[product(one, other) for other in kept] for one in kept]
    right = np.array([product(one, wanted) for one in kept])
    found = np.linalg.lstsq(np.array(left), right, rcond=None)[0]
    found /= found.sum()
    squared = product(wanted, wanted)
    apart = (squared - 2 * found @ right + found @ left @ found) / squared
    return found.tolist(), float(np.sqrt(max(apart, 0.0)))


def product(one: Profile, other: Profile) -> float:
    """The inner product of two profiles over continuous time (appendix C)."""
    (first, until), (second, later) = sorted((one, other), key=lambda profile: profile[1])
    return (first + 1) * (second + 1) * (until / later) ** second / ((first + second + 1) * later)
