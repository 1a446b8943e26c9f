"""What is asked of networks that may be anyone's: whether they take labels or have weights, and their last layer."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def is_conditional(network: nn.Module) -> bool:
    """Whether it takes labels as its second argument: its class says so with `conditional = True`."""
    return bool(getattr(network, "conditional", False))


def predicts_classes(network: nn.Module) -> bool:
    """Whether its outputs have class logits: its class says so with `classifies = True`."""
    return bool(getattr(network, "classifies", False))


def embeds(network: nn.Module) -> bool:
    """Whether its outputs have an embedding and proxies: its class says so with `embeds = True`."""
    return bool(getattr(network, "embeds", False))


def takes_pairs(network: nn.Module) -> bool:
    """Whether it makes each image of two codes: what is innermost says so with `takes_pairs = True`."""
    return bool(getattr(innermost(network), "takes_pairs", False))


def synthesis_of(network: nn.Module) -> nn.Module:
    """What makes images of styles, whose `style_shape` is (layers, width); raises ValueError for another generator."""
    inner = innermost(network)
    synthesis = getattr(inner, "synthesis", None)
    if not isinstance(synthesis, nn.Module):
        raise ValueError(
            f"{type(inner).__module__}.{type(inner).__name__} makes images without styles: set model=stylegan2"
        )
    return synthesis


@contextmanager
def shifted_styles(network: nn.Module, shift: Tensor) -> Iterator[None]:
    """Inside, `shift` [batch, layers, width] is added to the styles of which the network makes images."""
    hook = synthesis_of(network).register_forward_pre_hook(lambda _, inputs: inputs[0] + shift)
    try:
        yield
    finally:
        hook.remove()


def reads_batch(network: nn.Module) -> bool:
    """Whether an image's outputs depend on the others of its batch in this process.

    A layer for which they do, and which is no batch norm, says so with `reads_batch = True`.
    """
    layers = list(network.modules())
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm)]
    return bool(norms) or any(getattr(layer, "reads_batch", False) for layer in layers)


def has_weights(network: nn.Module) -> bool:
    return next(network.parameters(), None) is not None


class Outer(nn.Module):
    """A network around another one, `network`, with the same labels and the same outputs beside the logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def conditional(self) -> bool:
        return is_conditional(self.network)

    @property
    def classifies(self) -> bool:
        return predicts_classes(self.network)

    @property
    def embeds(self) -> bool:
        return embeds(self.network)


def innermost(network: nn.Module) -> nn.Module:
    """The network inside what adds a head or labels."""
    while isinstance(inner := getattr(network, "network", None), nn.Module):
        network = inner
    return network


def last_linear(network: nn.Module) -> tuple[str, nn.Linear]:
    """The path and the layer that come last among its linear ones; raises ValueError for a network without one."""
    found = [(path, layer) for path, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not found:
        raise ValueError(f"{type(network).__name__} has no nn.Linear, which would be its last layer")
    return found[-1]


def keep_head_in_float32(network: nn.Module, device_type: str) -> None:
    """From its last linear layer on, which makes logits of features, the network computes in float32.

    Heads on the same features follow that layer, so they do, too; a network without such a layer is left alone.
    """
    try:
        layer = last_linear(innermost(network))[1]
    except ValueError:
        return

    def leave_autocast(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not torch.is_autocast_enabled(device_type):
            return inputs
        torch.set_autocast_enabled(device_type, False)  # for the rest of the pass, whose context restores it
        return tuple(each.float() for each in inputs)

    layer.register_forward_pre_hook(leave_autocast, prepend=True)


@contextmanager
def input_of_last_linear(network: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, the list receives what the last linear layer reads at each pass, [batch, features]."""
    seen: list[Tensor] = []
    hook = last_linear(network)[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()
