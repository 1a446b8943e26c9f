"""Turns of other programs' networks and losses, for benchmarks/speed.py, where they can be imported; none is needed.

`torch_mimicry` is a package; the code of RealnessGAN's authors is a folder, which PYTHONPATH names.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

Turns = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Peer:
    """One turn of each player, update included, and the number of parameters of both."""

    name: str
    turns: Turns
    num_parameters: int


def found(name: str, num_outcomes: int, images: Tensor) -> Peer | None:
    """The peer of a case of the benchmark on these real images; None if it cannot be imported."""
    try:
        return PEERS[name](images, num_outcomes) if name in PEERS else None
    except ImportError:
        return None


def mimicry(package: str, classes: str) -> Callable[[Tensor, int], Peer]:
    """Its networks for 32 pixels, as its trainer calls them."""

    def build(images: Tensor, num_outcomes: int) -> Peer:
        nets = import_module(f"torch_mimicry.nets.{package}")
        log = import_module("torch_mimicry.training.metric_log").MetricLog
        generator, discriminator = (
            getattr(nets, f"{classes}Generator32")(),
            getattr(nets, f"{classes}Discriminator32")(),
        )
        of_generator, of_discriminator = (
            Adam(network.parameters(), 2e-4, betas=(0.0, 0.9)) for network in (generator, discriminator)
        )
        batch = (images, torch.zeros(len(images)))
        shared = {"real_batch": batch, "device": "cpu", "global_step": 0}
        turns: Turns = {
            "discriminator": lambda: discriminator.train_step(
                netG=generator, optD=of_discriminator, log_data=log(), **shared
            ),
            "generator": lambda: generator.train_step(netD=discriminator, optG=of_generator, log_data=log(), **shared),
        }
        return Peer("mimicry", turns, count(generator) + count(discriminator))

    return build


def realness(images: Tensor, num_outcomes: int) -> Peer:
    """The authors' functions for one iteration, with the settings of their script for CelebA, but for these images."""
    networks, losses = import_module("model.DCGAN_model"), import_module("training.loss")
    learn_discriminator = import_module("training.learnD").learnD_Realness
    learn_generator = import_module("training.learnG").learnG_Realness
    size = len(images)
    settings = SimpleNamespace(
        **{"cuda": False, "batch_size": size, "effective_batch_size": size, "z_size": 128, "n_channels": 3},
        **{"image_size": images.shape[-1], "G_h_size": 32, "D_h_size": 32, "num_outcomes": num_outcomes},
        **{"D_updates": 1, "G_updates": 1, "positive_skew": 1.0, "negative_skew": -1.0},
        **{"use_adaptive_reparam": True, "relativisticG": True},
    )
    generator, discriminator = networks.DCGAN_G(settings), networks.DCGAN_D(settings)
    of_generator, of_discriminator = (
        Adam(network.parameters(), 2e-4, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )
    loss = losses.CategoricalLoss(atoms=num_outcomes, v_max=1.0, v_min=-1.0)
    loss.to("cpu")
    shown = torch.empty_like(images)
    anchors = [torch.full((num_outcomes,), 1 / num_outcomes).numpy()] * 2

    def sampled() -> Iterator[tuple[Tensor, None]]:
        while True:
            yield images, None

    given = (sampled(), loss, shown, *anchors)
    turns: Turns = {
        "discriminator": lambda: learn_discriminator(settings, discriminator, generator, of_discriminator, *given),
        "generator": lambda: learn_generator(settings, discriminator, generator, of_generator, *given),
    }
    return Peer("the authors", turns, count(generator) + count(discriminator))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


PEERS: dict[str, Callable[[Tensor, int], Peer]] = {
    "SNGAN, residual": mimicry("sngan", "SNGAN"),
    "standard GAN, residual": mimicry("dcgan", "DCGAN"),
    "WGAN-GP, residual": mimicry("wgan_gp", "WGANGP"),
    "RealnessGAN": realness,
}
