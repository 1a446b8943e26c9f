"""Spectral normalization (Miyato et al. 2018, arXiv:1802.05957), of all layers in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrize import ParametrizationList, register_parametrization

from gan_cli.regularizers.regularizer import Constraint

FIRST_ITERATIONS = 15  # from random vectors, as in torch.nn.utils.parametrizations.spectral_norm


@dataclass(frozen=True, kw_only=True)
class SpectralNorm(Constraint):
    """Divides every linear, convolutional and embedding weight of a network by its largest singular value.

    That is equation 8; embeddings of labels as in the projection discriminator of the same authors (arXiv:1802.05637).

    The singular vectors are tracked with `num_power_iterations` at each training pass (algorithm 1). Raises ValueError
    if there is not at least one, and for a network with weights that are all 0, which have no norm to divide by.
    """

    num_power_iterations: Annotated[int, Ge(1)]

    player = "discriminator"

    def impose(self, network: nn.Module) -> None:
        for layer in list(network.modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
                if not layer.weight.is_meta and not layer.weight.any():
                    raise ValueError(
                        f"it cannot divide weights by their norm that start at 0, as those of this {self.player} do: "
                        "choose another model, or another regularizer such as r1"
                    )
                norm = Normalised(layer.weight.detach(), dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
                register_parametrization(layer, "weight", norm)
        if not norms_of(network):  # its weights are of other kinds
            return
        iterate(norms_of(network), FIRST_ITERATIONS)
        network.register_forward_pre_hook(lambda network, _: prepare(network, self.num_power_iterations))
        network.register_forward_hook(lambda network, *_: release(network), always_call=True)


@dataclass(frozen=True, kw_only=True)
class GeneratorSpectralNorm(SpectralNorm):
    """The same of the generator (SAGAN, Zhang et al. 2019, arXiv:1805.08318, section 4.1; BigGAN).

    The moving average has averaged weights, and the singular vectors of the newest ones.
    """

    player = "generator"


class Normalised(nn.Module):
    """A weight divided by its largest singular value, which its tracked singular vectors tell.

    The weight is a matrix with one row for each output. A pass of the whole network prepares all weights at once.
    """

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.prepared: Tensor | None = None
        for name, size in zip(("left", "right"), self.matrix(weight).shape, strict=True):
            self.register_buffer(name, normalize(weight.new_empty(size).normal_(), dim=0))

    def matrix(self, weight: Tensor) -> Tensor:
        """[outputs, inputs]; of weights that are channels last, nothing is copied."""
        return weight if weight.ndim == 2 else weight.permute(self.dim, 2, 3, 1 - self.dim).flatten(1)

    def weight(self, matrix: Tensor, like: Tensor) -> Tensor:
        """The inverse of `matrix`, in the shape of `like`."""
        if like.ndim == 2:
            return matrix
        order = (self.dim, 2, 3, 1 - self.dim)
        back = (0, 3, 1, 2) if self.dim == 0 else (3, 0, 1, 2)
        return matrix.unflatten(1, [like.shape[axis] for axis in order[1:]]).permute(back)

    def largest(self, weight: Tensor) -> Tensor:
        """The largest singular value, with its gradient."""
        return torch.dot(self.left, torch.mv(self.matrix(weight), self.right))

    def forward(self, weight: Tensor) -> Tensor:
        return weight / self.largest(weight) if self.prepared is None else self.prepared


Norms = Sequence[tuple[Normalised, Tensor]]  # each with the weight that it divides
Vectors = tuple[list[Tensor], list[Tensor], list[Tensor]]  # left, right, and largest singular values


def norms_of(network: nn.Module) -> Norms:
    lists = [module for module in network.modules() if isinstance(module, ParametrizationList)]
    return [(norm, each.original) for each in lists for norm in each if isinstance(norm, Normalised)]


def prepare(network: nn.Module, num_iterations: int) -> None:
    """Normalises all weights for one pass, in float32; the vectors of norms in training follow the weights."""
    norms = norms_of(network)
    if not norms:  # a copy whose weights are normalised for good
        return
    with torch.autocast(norms[0][1].device.type, enabled=False):
        for training, vectors_of in ((True, partial(iterate, num_iterations=num_iterations)), (False, kept)):
            chosen = [pair for pair in norms if pair[0].training is training]
            if chosen:
                prepared = Divide.apply([norm for norm, _ in chosen], vectors_of(chosen), *(w for _, w in chosen))
                for (norm, _), weight in zip(chosen, prepared, strict=True):
                    norm.prepared = weight


def release(network: nn.Module) -> None:
    for norm, _ in norms_of(network):
        norm.prepared = None


@torch.no_grad()
def iterate(norms: Norms, num_iterations: int) -> Vectors:
    """Power iterations, whose last result the norms keep."""
    matrices = [norm.matrix(weight) for norm, weight in norms]
    right = [norm.right for norm, _ in norms]
    for _ in range(num_iterations):
        left, _ = unit([torch.mv(matrix, vector) for matrix, vector in zip(matrices, right, strict=True)])
        right, largest = unit([torch.mv(matrix.t(), vector) for matrix, vector in zip(matrices, left, strict=True)])
    torch._foreach_copy_([norm.left for norm, _ in norms], left)
    torch._foreach_copy_([norm.right for norm, _ in norms], right)
    return left, right, largest


def unit(vectors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Vectors of length 1, and the lengths they had."""
    lengths = torch._foreach_norm(vectors)
    torch._foreach_clamp_min_(lengths, 1e-12)
    return list(torch._foreach_div(vectors, lengths)), list(lengths)


@torch.no_grad()
def kept(norms: Norms) -> Vectors:
    """Copies: the next pass may change the vectors before this one is differentiated."""
    left, right = [norm.left.clone() for norm, _ in norms], [norm.right.clone() for norm, _ in norms]
    return left, right, [norm.largest(weight) for norm, weight in norms]


class Divide(torch.autograd.Function):
    """Every weight W divided by s = l' W r, its largest singular value; the vectors l and r are constants."""

    @staticmethod
    def forward(ctx: Any, norms: list[Normalised], vectors: Vectors, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.norms, ctx.vectors = norms, vectors
        ctx.save_for_backward(*weights)
        return tuple(torch._foreach_div(weights, vectors[2]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """g / s - <g, W> / s^2 l r'."""
        weights, (left, right, largest) = ctx.saved_tensors, ctx.vectors
        if torch.is_grad_enabled():  # this gradient will be differentiated, also with respect to s
            largest = [norm.largest(weight) for norm, weight in zip(ctx.norms, weights, strict=True)]
        inner = [product.sum() for product in torch._foreach_mul(gradients, weights)]
        factors = torch._foreach_div(inner, torch._foreach_mul(largest, largest))
        rows = zip(ctx.norms, torch._foreach_mul(left, factors), right, weights, strict=True)
        along = [norm.weight(torch.outer(own_left, own_right), like) for norm, own_left, own_right, like in rows]
        return None, None, *torch._foreach_sub(torch._foreach_div(gradients, largest), along)
