"""Turns of other programs' networks and losses, for benchmarks/speed.py, where they can be imported; none is needed.

`torch_mimicry` is a package; the code of RealnessGAN's authors and StudioGAN's `src` are folders on PYTHONPATH.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
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


def found(name: str, num_outcomes: int, images: Tensor) -> list[Peer]:
    """The peers of a case of the benchmark on these real images, as far as they can be imported."""
    peers = []
    for build in PEERS.get(name, []):
        with suppress(ImportError):
            peers.append(build(images, num_outcomes))
    return peers


def mimicry(package: str, classes: str) -> Callable[[Tensor, int], Peer]:
    """Its networks for 32 pixels, as its trainer calls them, where the images are."""

    def build(images: Tensor, num_outcomes: int) -> Peer:
        nets = import_module(f"torch_mimicry.nets.{package}")
        log = import_module("torch_mimicry.training.metric_log").MetricLog
        generator, discriminator = (
            getattr(nets, f"{classes}{player}32")().to(images.device) for player in ("Generator", "Discriminator")
        )
        of_generator, of_discriminator = (
            Adam(network.parameters(), 2e-4, betas=(0.0, 0.9)) for network in (generator, discriminator)
        )
        batch = (images, torch.zeros(len(images), device=images.device))
        shared = {"real_batch": batch, "device": images.device, "global_step": 0}
        turns: Turns = {
            "discriminator": lambda: discriminator.train_step(
                netG=generator, optD=of_discriminator, log_data=log(), **shared
            ),
            "generator": lambda: generator.train_step(netD=discriminator, optG=of_generator, log_data=log(), **shared),
        }
        return Peer("mimicry", turns, count(generator) + count(discriminator))

    return build


def studiogan(images: Tensor, num_outcomes: int) -> Peer:
    """Its networks for 32 pixels without labels, and its hinge losses, in the order of its worker's turns."""
    networks, ops = import_module("models.resnet"), import_module("utils.ops")
    losses = import_module("utils.losses")
    modules = SimpleNamespace(
        **{"g_conv2d": ops.conv2d, "g_linear": ops.linear, "g_bn": ops.batchnorm_2d, "g_act_fn": nn.ReLU(inplace=True)},
        **{"d_conv2d": ops.snconv2d, "d_linear": ops.snlinear, "d_act_fn": nn.ReLU(inplace=True)},
    )
    shared: dict[str, Any] = {
        **{"img_size": 32, "apply_attn": False, "num_classes": 10, "mixed_precision": False, "MODULES": modules},
        "MODEL": SimpleNamespace(info_type="N/A", g_info_injection="N/A"),
    }
    of_generator = {"z_dim": 128, "g_shared_dim": "N/A", "g_conv_dim": 64, "attn_g_loc": [], "g_cond_mtd": "W/O"}
    of_discriminator = {
        "d_conv_dim": 64,
        "apply_d_sn": True,
        "attn_d_loc": [],
        "d_cond_mtd": "W/O",
        "d_embed_dim": "N/A",
    }
    further = {"aux_cls_type": "W/O", "normalize_d_embed": False, "d_init": "ortho", "d_depth": "N/A"}
    generator = networks.Generator(g_init="ortho", g_depth="N/A", **of_generator, **shared)
    discriminator = networks.Discriminator(**of_discriminator, **further, **shared)
    optimizers = {
        network: Adam(network.parameters(), 2e-4, betas=(0.5, 0.999)) for network in (generator, discriminator)
    }
    labels = torch.zeros(len(images)).long()

    def turn(network: nn.Module, other: nn.Module) -> Tensor:
        other.requires_grad_(False)
        network.requires_grad_(True)
        optimizers[network].zero_grad()
        fake = generator(torch.randn(len(images), 128), labels)
        if network is discriminator:
            real_logits, fake_logits = (discriminator(shown, labels)["adv_output"] for shown in (images, fake))
            loss: Tensor = losses.d_hinge(real_logits, fake_logits, DDP=False)
        else:
            loss = losses.g_hinge(discriminator(fake, labels)["adv_output"], DDP=False)
        loss.backward()
        optimizers[network].step()
        return loss

    turns: Turns = {
        "discriminator": lambda: turn(discriminator, generator),
        "generator": lambda: turn(generator, discriminator),
    }
    return Peer("StudioGAN", turns, count(generator) + count(discriminator))


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


PEERS: dict[str, list[Callable[[Tensor, int], Peer]]] = {
    "SNGAN, residual": [mimicry("sngan", "SNGAN"), studiogan],
    "standard GAN, residual": [mimicry("dcgan", "DCGAN")],
    "WGAN-GP, residual": [mimicry("wgan_gp", "WGANGP")],
    "RealnessGAN": [realness],
}
