"""Every recipe composes into the published setting, and its players take a step on images of its size."""

import re
from typing import Any

import pytest
import torch

from gan_cli.config.build import build_bounds, build_dataset, build_gan, build_player
from gan_cli.config.compose import CONF
from gan_cli.config.nodes import Config
from gan_cli.config.read import read_config
from gan_cli.engine import Engine
from gan_cli.trainer import update
from gan_cli.turns import Rules, discriminator_turn, generator_turn

from ..conftest import composed_config
from ..values import examples

RECIPES = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
NAMED = [
    "dcgan_cifar10",
    "wgan_cifar10",
    "wgan_gp_cifar10",
    "wgan_gp_resnet_cifar10",
    "sngan_cifar10",
    "sngan_resnet_cifar10",
    "realness_cifar10",
    "realness_celeba256",
    "realness_ffhq1024",
    "realness_toy",
    "advlat_qua_dcgan_cifar10",
    "advlat_qua_wgan_cifar10",
    "advlat_qua_wgan_gp_cifar10",
    "advlat_qua_sngan_cifar10",
    "advlat_qua_plus_dcgan_cifar10",
    "advlat_qua_plus_wgan_cifar10",
    "advlat_qua_plus_wgan_gp_cifar10",
    "advlat_qua_plus_sngan_cifar10",
    "advlat_qua_dcgan_stl10",
    "advlat_qua_wgan_stl10",
    "advlat_qua_wgan_gp_stl10",
    "advlat_qua_sngan_stl10",
    "advlat_div_cifar10",
    "advlat_ring",
    "advlat_grid",
    "advlat_z_mnist2d",
    "fgan_mnist",
]
SHAPES = {"cifar10": (3, 32, 32), "stl10": (3, 48, 48), "celeba": (3, 256, 256)}


def recipe(name: str, *overrides: str) -> Config:
    more = ["dataset.root=."] if name == "realness_ffhq1024" else []
    return read_config(composed_config(f"experiment={name}", *more, *overrides))[0]


PLAYERS = ("discriminator", "generator")


def at_first(rate: Any) -> Any:
    return rate["start"] if isinstance(rate, dict) else rate


def falls_from(rate: Any, steps: int) -> int | None:
    """The step from which the rate falls linearly to nothing at the last one; None for a constant rate."""
    if not isinstance(rate, dict):
        return None
    assert (rate["end"], rate["until"], rate["shape"]) == (0.0, steps, "linear")
    since: int = rate.get("since", 0)
    return since


def flat(name: str) -> dict[str, object]:
    """The settings that papers differ in."""
    config = recipe(name)
    sampler = config["latent_sampler"]
    return {
        "dataset": config["dataset"].get("name", config["dataset"]["_target_"].rsplit(".", 1)[1]),
        "size": config["dataset"].get("image_size"),
        "flip": config["dataset"].get("horizontal_flip"),
        "model": config["model"]["generator"]["_target_"].split(".")[-2],
        "objective": config["objective"]["_target_"].rsplit(".", 1)[1],
        "regularizers": sorted(config["regularizer"]),
        "sampler": sampler["_target_"].rsplit(".", 1)[1],
        "step_size": sampler.get("step_size"),
        "steps": config["steps"],
        "batch": config["batch_size"],
        "turns": (config["discriminator_steps"], config["generator_steps"]),
        "latent": config["latent_dim"],
        "decay": {falls_from(config[f"{player}_optimizer"]["lr"], config["steps"]) for player in PLAYERS},
        "lr": tuple(at_first(config[f"{player}_optimizer"]["lr"]) for player in PLAYERS),
        "betas": config["generator_optimizer"]["betas"],
    }


def test_every_recipe_that_is_promised_is_there_and_in_the_docs() -> None:
    assert set(NAMED) <= set(RECIPES)
    page = (CONF.parent / "docs" / "recipes.md").read_text()
    for name in NAMED:
        pattern = re.sub(r"(?<=qua_)(plus_)?(dcgan|wgan_gp|wgan|sngan)(?=_)", "", name).rstrip("_")
        assert name in page or pattern.split("_cifar10")[0].split("_stl10")[0].rstrip("_") in page, name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "dcgan_cifar10",
            {"model": "dcgan_classic", "objective": "StdGAN", "regularizers": [], "betas": [0.5, 0.9], "flip": True},
        ),
        ("wgan_cifar10", {"model": "cnn", "objective": "Wasserstein", "regularizers": ["weight_clipping"]}),
        ("wgan_gp_cifar10", {"model": "cnn", "objective": "Wasserstein", "regularizers": ["gradient_penalty"]}),
        ("sngan_cifar10", {"model": "cnn", "objective": "Hinge", "regularizers": ["spectral_norm"], "flip": False}),
        ("advlat_qua_dcgan_cifar10", {"sampler": "AdvLatQua", "step_size": 0.03, "model": "dcgan_classic"}),
        ("advlat_qua_wgan_cifar10", {"sampler": "AdvLatQua", "step_size": 0.01}),
        ("advlat_qua_wgan_gp_cifar10", {"sampler": "AdvLatQua", "step_size": 0.015}),
        ("advlat_qua_sngan_cifar10", {"sampler": "AdvLatQua", "step_size": 0.04}),
        ("advlat_qua_plus_sngan_cifar10", {"sampler": "AdvLatZ", "step_size": 0.05}),
        ("advlat_qua_dcgan_stl10", {"dataset": "stl10", "size": 48, "step_size": 0.04}),
        ("advlat_qua_sngan_stl10", {"dataset": "stl10", "size": 48, "step_size": 0.05}),
    ],
)
def test_the_cnn_recipes_share_a_budget(name: str, expected: dict[str, object]) -> None:
    common = {"dataset": "cifar10", "size": 32, "steps": 100_000, "batch": 128, "turns": (1, 1), "latent": 100}
    common |= {"decay": {0}, "lr": (2e-4, 2e-4), "betas": [0.0, 0.9]}
    found = flat(name)
    expected = {"betas": [0.5, 0.9]} | expected if "dcgan" in name else expected
    assert {key: found[key] for key in common | expected} == common | expected


@pytest.mark.parametrize("name", ["sngan_resnet_cifar10", "wgan_gp_resnet_cifar10"])
def test_the_residual_recipes_have_five_critic_updates(name: str) -> None:
    found = flat(name)
    assert (found["model"], found["batch"], found["turns"], found["latent"]) == ("resnet", 64, (5, 1), 128)
    form = recipe(name)["model"]["discriminator"]["form"]
    assert form == ("sngan" if name.startswith("sngan") else "wgan_gp")


def test_realness_recipes_are_the_authors_script() -> None:
    cifar, celeba, toy = flat("realness_cifar10"), flat("realness_celeba256"), flat("realness_toy")
    assert (cifar["turns"], cifar["steps"], cifar["batch"], cifar["betas"]) == ((1, 3), 520_000, 32, [0.5, 0.999])
    assert (celeba["turns"], celeba["size"], celeba["dataset"]) == ((1, 1), 256, "celeba")
    assert recipe("realness_cifar10")["num_outcomes"] == 3
    assert recipe("realness_celeba256")["objective"]["feature_resampling"] is True
    assert recipe("realness_ffhq1024")["num_outcomes"] == 51
    assert flat("realness_ffhq1024")["size"] == 1024
    assert (toy["turns"], toy["steps"], toy["batch"], toy["betas"]) == ((1, 3), 500, 100, [0.8, 0.999])


def test_a_recipe_gives_way_to_the_command_line() -> None:
    config = recipe(
        "sngan_cifar10", "objective=lsgan", "model.generator.width=8", "steps=7", "generator_optimizer.lr=1e-3"
    )
    assert config["objective"]["_target_"].endswith("LSGAN")
    assert (config["steps"], config["model"]["generator"]["width"]) == (7, 8)
    assert config["generator_optimizer"]["lr"] == 1e-3


SMALL = [name for name in RECIPES if name not in ("realness_celeba256", "realness_ffhq1024")]


@pytest.mark.parametrize("name", SMALL)
def test_the_players_of_a_recipe_take_a_turn(name: str) -> None:
    """With narrow networks, on noise in the shape of its data."""
    config = recipe(name)
    for player in config["model"].values():
        player |= {"width": 4} if "width" in player else {"hidden": [8 for _ in player["hidden"]]}
    node = config["dataset"]
    image_shape = SHAPES.get(node.get("name", ""), (2, 1, 1) if "toy" in node["_target_"] else (1, 16, 16))
    if node.get("name") == "mnist":
        image_shape = (1, node["image_size"], node["image_size"])
    if "steps" in config["latent_sampler"]:
        config["latent_sampler"]["steps"] = 2
    engine = Engine()
    bounds = build_bounds(config, engine)
    gan = build_gan(config, image_shape, engine, bounds)
    assert build_dataset(config).protocol
    rules = Rules(gan.game, gan.latent_sampler, bounds)
    torch.manual_seed(0)
    real = examples(torch.rand(4, *image_shape) * 2 - 1)
    networks = {"discriminator": gan.game.discriminator, "generator": gan.game.generator}
    for (name, network), play in zip(networks.items(), (discriminator_turn, generator_turn), strict=True):
        player = build_player(name, config, network, play, num_turns=1, batch_size=4)
        losses = play(rules, real, 1, 0).losses
        assert torch.stack(list(losses.values())).sum().isfinite()
        update(player, losses)
        assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_each_player_has_an_optimizer_of_its_own() -> None:
    config = read_config(
        composed_config(
            "optimizer@discriminator_optimizer=rmsprop",
            "generator_optimizer.weight_decay=1e-4",
            "generator_optimizer.lr=3e-4",
        )
    )[0]
    linear = torch.nn.Linear(2, 2)
    adam, rmsprop = (
        build_player(name, config, linear, play, num_turns=1, batch_size=1).optimizer
        for name, play in (("generator", generator_turn), ("discriminator", discriminator_turn))
    )
    assert isinstance(adam, torch.optim.Adam)
    assert isinstance(rmsprop, torch.optim.RMSprop)
    assert (adam.defaults["lr"], adam.defaults["weight_decay"], rmsprop.defaults["lr"]) == (3e-4, 1e-4, 5e-5)
    assert {recipe("rmsprop")[f"{player}_optimizer"]["_target_"] for player in ("generator", "discriminator")} == {
        "torch.optim.RMSprop"
    }
