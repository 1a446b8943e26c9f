"""Every recipe composes into the published setting, and its players take a step on images of its size."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from gan_cli.config.build import build_bounds, build_dataset, build_gan, build_player, build_players, build_settings
from gan_cli.config.check import with_schedules
from gan_cli.config.compose import CONF
from gan_cli.config.nodes import Config
from gan_cli.config.read import read_config
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.schedule import value_at
from gan_cli.turns import Batch, Rules, discriminator_turn, generator_turn
from tests.values import update

from ..conftest import composed_config
from ..pairwise import every_third_quick
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
    "advlat_div_cifar10",
    "advlat_div_cifar10_conditional",
    "msgan_cifar10",
    "acgan_cifar10",
    "sngan_projection_cifar10",
    "conditional_digits",
    "advlat_ring",
    "advlat_grid",
    "advlat_z_mnist2d",
    "fgan_mnist",
]
STUDIES = {  # of AdvLatGAN-qua: step sizes and published FIDs of each baseline, with -qua, and with -qua+
    "advlat_qua_cifar10": {
        "dcgan": (0.03, 46.4, 41.7, 40.1),
        "wgan": (0.01, 32.8, 27.3, 27.2),
        "wgan_gp": (0.015, 24.7, 22.6, 18.3),
        "sngan": (0.04, 25.5, 22.3, 21.9),
    },
    "advlat_qua_stl10": {
        "dcgan": (0.04, None, None, None),
        "wgan": (0.02, None, 51.0, 49.1),
        "wgan_gp": (0.015, None, None, None),
        "sngan": (0.05, None, None, None),
    },
}
SHAPES = {"cifar10": (3, 32, 32), "svhn": (3, 32, 32), "stl10": (3, 48, 48), "celeba": (3, 256, 256)}


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


def rows(study: str) -> list[tuple[list[str], dict[str, float]]]:
    """The overrides of each row of a study, and what is published of it."""
    content: Any = OmegaConf.to_container(OmegaConf.load(CONF / "study" / f"{study}.yaml"))
    found = []
    for grid in content["grids"]:
        published = grid.pop("published", {})
        found.append(([f"{key}={value}" for key, value in (content.get("params", {}) | grid).items()], published))
    return found


QUA_ROWS = [row for study in STUDIES for row, _ in rows(study)]


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
        "batch": (config["batch_size"], config["generator_batch_size"]),
        "turns": (config["discriminator_steps"], config["generator_steps"]),
        "latent": config["latent_dim"],
        "decay": {falls_from(config[f"{player}_optimizer"]["lr"], config["steps"]) for player in PLAYERS},
        "lr": tuple(at_first(config[f"{player}_optimizer"]["lr"]) for player in PLAYERS),
        "betas": config["generator_optimizer"]["betas"],
    }


def test_every_recipe_that_is_promised_is_there_and_in_the_docs() -> None:
    assert set(NAMED) <= set(RECIPES)
    page = (CONF.parent / "docs" / "recipes.md").read_text()
    for name in [*NAMED, *STUDIES]:
        assert f"`{name}`" in page or f"`study={name}`" in page, name
    needs = page.split("## What a recipe needs")[1]
    assert all(f"| `{name}` |" in needs for name in NAMED)


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
    ],
)
def test_the_cnn_recipes_share_a_budget(name: str, expected: dict[str, object]) -> None:
    common = {"dataset": "cifar10", "size": 32, "steps": 100_000, "batch": (128, 256), "turns": (1, 1), "latent": 100}
    common |= {"decay": {0}, "lr": (2e-4, 2e-4), "betas": [0.0, 0.9]}
    found = flat(name)
    expected = {"betas": [0.5, 0.9]} | expected if "dcgan" in name else expected
    assert {key: found[key] for key in common | expected} == common | expected


@pytest.mark.slow
@pytest.mark.parametrize(("study", "baselines"), STUDIES.items())
def test_the_studies_of_advlatgan_are_its_baselines_with_its_samplers(
    study: str, baselines: dict[str, tuple[float, ...]]
) -> None:
    """Each row is the baseline's config, on its data, with exactly this latent sampler; and its published FID."""
    prior = {"_target_": "gan_cli.latent_samplers.gaussian.Gaussian", "latent_dim": 100}
    expected = []
    for baseline, (step_size, *published) in baselines.items():
        qua = {"_target_": "gan_cli.latent_samplers.advlat_qua.AdvLatQua", "prior": prior, "steps": 1}
        qua |= {"step_size": step_size, "radius": step_size}
        plus = {"_target_": "gan_cli.latent_samplers.advlat_z.AdvLatZ", "prior": qua, "steps": 20}
        plus |= {"step_size": 0.05, "radius": 1.0}
        data = ["dataset=stl10", "dataset.resize=bilinear"] if study.endswith("stl10") else []
        of_baseline = recipe(f"{baseline}_cifar10", *data)
        expected += [
            (of_baseline | {"latent_sampler": sampler}, {} if fid is None else {"fid": fid})
            for sampler, fid in zip((prior, qua, plus), published, strict=True)
        ]
    assert [(read_config(composed_config(*row))[0], published) for row, published in rows(study)] == expected


@pytest.mark.parametrize("name", ["sngan_resnet_cifar10", "wgan_gp_resnet_cifar10"])
def test_the_residual_recipes_have_five_critic_updates(name: str) -> None:
    found = flat(name)
    assert (found["model"], found["batch"], found["turns"], found["latent"]) == ("resnet", (64, 128), (5, 1), 128)
    form = recipe(name)["model"]["discriminator"]["form"]
    assert form == ("sngan" if name.startswith("sngan") else "wgan_gp")


def test_realness_recipes_are_the_authors_script() -> None:
    cifar, celeba, toy = flat("realness_cifar10"), flat("realness_celeba256"), flat("realness_toy")
    assert (cifar["turns"], cifar["steps"], cifar["batch"], cifar["betas"]) == (
        (1, 3),
        520_000,
        (32, None),
        [0.5, 0.999],
    )
    assert (celeba["turns"], celeba["size"], celeba["dataset"]) == ((1, 1), 256, "celeba")
    assert recipe("realness_cifar10")["num_outcomes"] == 3
    assert recipe("realness_celeba256")["objective"]["feature_resampling"] is True
    assert recipe("realness_ffhq1024")["num_outcomes"] == 51
    assert flat("realness_ffhq1024")["size"] == 1024
    assert (toy["turns"], toy["steps"], toy["batch"], toy["betas"]) == ((1, 3), 500, (100, None), [0.8, 0.999])
    for name in ("realness_celeba256", "realness_ffhq1024"):
        node = recipe(name)["dataset"]
        assert (node["crop"], node["resize"]) == ("none", "bilinear")
    assert recipe("realness_celeba256")["num_eval_images"] == 5000


def test_advlatgan_div_has_32_pairs_and_half_the_weight() -> None:
    """The authors add the means of two halves; the mean over both, as here, weighs half of that."""
    config = recipe("advlat_div_cifar10")
    assert flat("advlat_div_cifar10")["batch"] == (32, 64)
    assert config["regularizer"]["mode_seeking"]["weight"] == 0.5


WAYS_OF_LABELS = {
    "advlat_div_cifar10": ("UnlabelledGenerator", "UnlabelledDiscriminator"),
    "advlat_div_cifar10_conditional": ("ConcatGenerator", "ConcatDiscriminator"),
    "msgan_cifar10": ("ConcatGenerator", "ConcatDiscriminator"),
    "acgan_cifar10": ("ConcatGenerator", "Auxiliary"),
    "sngan_projection_cifar10": ("BatchNorm", "Projection"),
}


@pytest.mark.parametrize(("name", "classes"), every_third_quick(WAYS_OF_LABELS.items()))
def test_recipes_with_labels_are_their_bases_but_for_the_labels(name: str, classes: tuple[str, str]) -> None:
    config = recipe(name)
    chosen = (config[f"{player}_labels"]["_target_"].rsplit(".", 1)[1] for player in ("generator", "discriminator"))
    assert tuple(chosen) == classes
    base = {"acgan_cifar10": "dcgan_cifar10", "sngan_projection_cifar10": "sngan_resnet_cifar10"}.get(name)
    different = {"regularizers"} if base else {"model", "sampler", "step_size"}
    found, expected = flat(name), flat(base or "advlat_div_cifar10")
    assert {key: found[key] for key in found.keys() - different} == {
        key: expected[key] for key in expected.keys() - different
    }
    assert set(expected["regularizers"]) <= set(found["regularizers"])  # type: ignore[call-overload]


# Of R3GAN's six: images in millions, those of the schedules, batch, weight of both penalties, learning rate, half-life
# of the average in millions of images, width, classes' dimension, augmentation (arXiv:2501.05441, appendix D).
R3GAN = {
    "r3gan_stacked_mnist": (10, 2, 512, (1.0, 0.1), (2e-4, 2e-4), 0.5, 768, None, None),
    "r3gan_cifar10": (250, 20, 512, (0.05, 0.005), (2e-4, 5e-5), 5, 768, 768, 0.55),
    "r3gan_ffhq64": (100, 20, 256, (2.0, 0.2), (2e-4, 5e-5), 0.5, 768, None, 0.3),
    "r3gan_ffhq256": (200, 20, 256, (150.0, 15.0), (2e-4, 5e-5), 0.5, 768, None, 0.3),
    "r3gan_imagenet32": (1000, 200, 4096, (0.5, 0.05), (2e-4, 5e-5), 50, 1536, 1536, 0.5),
    "r3gan_imagenet64": (1000, 200, 4096, (1.0, 0.1), (2e-4, 5e-5), 50, 1536, 1536, 0.4),
}


@pytest.mark.parametrize("name", R3GAN)
def test_recipes_of_r3gan_have_the_published_schedules(name: str) -> None:
    images, ramp, batch, weights, rates, half_life, width, dim, most = R3GAN[name]
    config = recipe(name, *(["dataset.root=."] if "ffhq" in name else []))
    assert config["batch_size"] == batch
    assert config["steps"] * batch == pytest.approx(images * 1e6, rel=1e-4)
    assert (config["objective"]["pairing"], config["objective"]["loss"]) == ("paired", "standard")
    assert {key: node["every"] for key, node in config["regularizer"].items()} == {"r1": 1, "r2": 1}
    scheduled: list[tuple[Any, tuple[float, float]]] = [
        *((node["weight"], weights) for node in config["regularizer"].values()),
        *((config[f"{player}_optimizer"]["betas"][1], (0.9, 0.99)) for player in ("generator", "discriminator")),
        *((config[f"{player}_optimizer"]["lr"], rates) for player in ("generator", "discriminator")),
    ]
    for node, (start, end) in scheduled:
        schedule = with_schedules(node)
        until = round(ramp * 1e6 / batch)
        middle = (start + end) / 2
        assert [value_at(schedule, step) for step in (0, until // 2, until, 10**9)] == [
            *(pytest.approx(value, rel=1e-3) for value in (start, middle, end, end)),
        ]
    average = with_schedules(config["ema_decay"])
    assert average.at(0) == 0.0
    assert average.at(10**9) ** (half_life * 1e6 / batch) == pytest.approx(0.5, rel=1e-3)
    assert config["model"]["generator"]["width"] == config["model"]["discriminator"]["width"] == width
    assert config["discriminator_labels"].get("dim") == dim
    augmentation = config["augmentation"]
    assert augmentation["_target_"].endswith("NoAugmentation" if most is None else "ADA")
    if most is not None:
        p = with_schedules(augmentation["p"])
        assert [p.at(0), p.at(10**9)] == [0.0, most]
        colours = [augmentation[name] for name in ("brightness", "contrast", "luma_flip", "hue", "saturation")]
        assert {*colours, augmentation["cutout"], augmentation["rotate"]} == {0.5, 1.0}
        assert augmentation["cutout"] == augmentation["x_flip"] == 1.0


def test_the_recipes_of_stylegan2_have_the_authors_setting() -> None:
    plain, ada = recipe("stylegan2_cifar10"), recipe("stylegan2_cifar10_ada")
    assert {key for key in plain if plain[key] != ada[key]} == {"augmentation"}
    assert (ada["augmentation"]["p"], ada["augmentation"]["images_to_one"]) == ("adaptive", 500_000)
    assert plain["steps"] * plain["batch_size"] == 100_000_000
    assert {key: (node["weight"], node["every"]) for key, node in plain["regularizer"].items()} == {"r1": (0.01, 16)}
    average = with_schedules(plain["ema_decay"])
    for step in (1000, 156_250, 10**7):
        half_life = min(500_000, 0.05 * 64 * step) / 64
        assert average.at(step) == pytest.approx(0.5 ** (1 / half_life), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "player", "rate", "every"),
    [
        ("stylegan2", "discriminator", 0.01, 16),
        ("stylegan2_cifar10", "discriminator", 0.0025, 16),
        ("stylegan2_cifar10", "generator", 0.0025, 4),
    ],
)
def test_rates_of_stylegan2_are_corrected_for_lazy_penalties(name: str, player: str, rate: float, every: int) -> None:
    """By c = k / (k + 1) (arXiv:1912.04958, appendix B)."""
    c = every / (every + 1)
    config = recipe(name)
    optimizer = config[f"{player}_optimizer"]
    assert optimizer["lr"] == pytest.approx(rate * c, rel=1e-6)
    assert optimizer["betas"] == [0.0, pytest.approx(0.99**c, rel=1e-6)]
    assert config["regularizer"]["r1"]["every"] == 16


@pytest.mark.parametrize(("batch_size", "updates"), [(256, 1), (512, 2), (1000, 1)])
def test_schedules_in_images_follow_the_batch(batch_size: int, updates: int) -> None:
    config = recipe("r3gan_cifar10", f"batch_size={batch_size}", f"discriminator_steps={updates}")
    assert config["steps"] == 250_000_000 // (batch_size * updates)
    assert config["ema_decay"]["until"] == config["augmentation"]["p"]["until"] == 20_000_000 // (batch_size * updates)
    assert config["generator_optimizer"]["betas"][1]["until"] == 20_000_000 // (batch_size * updates)


def test_a_batch_that_is_none_is_named_and_not_its_schedules() -> None:
    for wrong in ("0", "many"):
        with pytest.raises(UserError, match=f"^batch_size={wrong} must be"):
            read_config(composed_config("steps=${steps_of:1e6}", f"batch_size={wrong}"))
    few = read_config(composed_config("steps=${steps_of:10}"))[0]
    assert few["steps"] == 1, "at least one"


def test_a_recipe_gives_way_to_the_command_line() -> None:
    config = recipe(
        "sngan_cifar10", "objective=lsgan", "model.generator.width=8", "steps=7", "generator_optimizer.lr=1e-3"
    )
    assert config["objective"]["_target_"].endswith("LSGAN")
    assert (config["steps"], config["model"]["generator"]["width"]) == (7, 8)
    assert config["generator_optimizer"]["lr"] == 1e-3


OF_A_FOLDER = ("realness_celeba256", "realness_ffhq1024", "r3gan_ffhq64", "r3gan_ffhq256")
SMALL = [[f"experiment={name}"] for name in RECIPES if name not in OF_A_FOLDER]


@pytest.mark.parametrize("overrides", every_third_quick([*SMALL, *QUA_ROWS], of_one_value=True, thirds=2), ids=" ".join)
def test_the_players_of_a_recipe_take_a_turn(overrides: list[str]) -> None:
    """With narrow networks, on noise in the shape of its data."""
    config = read_config(composed_config(*overrides))[0]
    for player in config["model"].values():
        narrow = {"width": 4, "hidden": [8 for _ in player.get("hidden", [])]}
        player |= {key: value for key, value in narrow.items() if key in player}
    node = config["dataset"]
    image_shape = SHAPES.get(
        node.get("name", ""), ((1 if "means" in node else 2), 1, 1) if "toy" in node["_target_"] else (1, 16, 16)
    )
    if node.get("name") == "mnist":
        image_shape = (1, node["image_size"], node["image_size"])
    if "steps" in config["latent_sampler"]:
        config["latent_sampler"]["steps"] = 2
    engine = Engine()
    bounds = build_bounds(config, engine)
    gan = build_gan(config, image_shape, [1, 1], engine, bounds)
    assert build_dataset(config).protocol
    rules = Rules(gan.game, gan.latent_sampler, bounds)
    torch.manual_seed(0)
    real = examples(torch.rand(4, *image_shape) * 2 - 1, torch.tensor([0, 1, 1, 0]))
    for player in build_players(config, gan.game, build_settings(config)):
        losses = player.play(rules, Batch(real, real), 1, 0).losses
        assert torch.stack(list(losses.values())).sum().isfinite()
        update(player, losses)
        assert all(parameter.isfinite().all() for parameter in player.network.parameters())


@pytest.mark.parametrize("name", ["sngan_cifar10", "advlat_div_cifar10", "realness_ffhq1024", "realness_toy"])
def test_debug_makes_a_recipe_small(name: str) -> None:
    config = recipe(name, "debug=fast")
    assert (config["steps"], config["batch_size"], config["generator_batch_size"]) == (20, 16, None)
    assert (config["num_eval_images"], config["evaluate_every"], config["checkpoint_every"]) == (100, 10, 10)
    whole = recipe(name)
    assert all(config[key] == whole[key] for key in ("dataset", "model", "objective", "regularizer", "latent_sampler"))
    assert config["generator_optimizer"]["betas"] == whole["generator_optimizer"]["betas"]
    assert at_first(config["generator_optimizer"]["lr"]) == at_first(whole["generator_optimizer"]["lr"])


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
