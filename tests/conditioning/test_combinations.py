"""Every objective takes a turn with every way of conditioning; the command line chooses one or both of them."""

import re
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import get_class

from gan_cli.config.build import build_bounds, build_gan, build_players, build_settings
from gan_cli.config.compose import CONF
from gan_cli.config.nodes import Config
from gan_cli.config.read import read_config
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.shapes import Examples
from gan_cli.turns import Batch, Rules
from tests.values import update

from ..conftest import TINY_MLP, composed_config
from ..pairwise import every_third_quick


def takes_no_labels(path: Path) -> bool:
    """Whether the objective of this file has a logit for each class by itself, or no discriminator."""
    found = re.search(r"_target_: (\S+)", path.read_text())
    objective: Any = get_class(found[1]) if found else None
    return bool(objective and (objective.logits_are_classes or "discriminator" not in objective.players))


CONDITIONINGS = sorted(path.stem for path in (CONF / "conditioning").glob("*.yaml"))
OBJECTIVES = sorted(path.stem for path in (CONF / "objective").glob("*.yaml") if not takes_no_labels(path))
CHANGING = ("concat", "projection", "twin_logits", "inner_product")  # the logits, which SAN refuses
PAIRS = [
    (objective, conditioning)
    for objective, conditioning in product(OBJECTIVES, CONDITIONINGS)
    if not (objective == "san" and conditioning in CHANGING)
]
SMALL = [*TINY_MLP, "dataset=ring", "model=mlp", "model.generator.batch_norm=true", "latent_dim=2", "regularizer=none"]


@lru_cache
def composed(*overrides: str) -> Config:
    return read_config(composed_config(*SMALL, *overrides))[0]


def one_turn(config: Config) -> dict[str, dict[str, float]]:
    """The losses of each player's first turn on toy points of three classes, by their names."""
    engine = Engine()
    bounds = build_bounds(config, engine)
    gan = build_gan(config, (2, 1, 1), [4, 4, 4], engine, bounds)
    real = Examples(torch.randn(6, 2, 1, 1), torch.tensor([0, 2, 1, 1, 0, 2]))
    losses = {}
    for player in build_players(config, gan.game, build_settings(config)):
        found = player.play(Rules(gan.game, gan.latent_sampler, bounds), Batch(real, real), 1, 0).losses
        update(player, found)
        assert all(weight.isfinite().all() for weight in player.network.parameters())
        losses[player.name] = {name: loss.item() for name, loss in found.items()}
    return losses


@pytest.mark.parametrize(("objective", "conditioning"), every_third_quick(PAIRS, thirds=2))
def test_every_objective_takes_a_turn_with_every_conditioning(objective: str, conditioning: str) -> None:
    chosen = composed(f"objective={objective}")
    labels = composed(f"conditioning={conditioning}")
    both = {name: labels[name] for name in ("generator_labels", "discriminator_labels")}
    config = chosen | both | {"regularizer": chosen["regularizer"] | labels["regularizer"]}
    losses = one_turn(config)
    numbers = [loss for terms in losses.values() for loss in terms.values()]
    assert torch.tensor(numbers).isfinite().all()
    assert set(labels["regularizer"]) <= {name for terms in losses.values() for name in terms}
    assert "adversarial" in losses["discriminator"]


CHOSEN = [
    (["conditioning=projection"], "BatchNorm", "Projection", set()),
    (["conditioning=projection", "generator_labels=concat"], "ConcatGenerator", "Projection", set()),
    (["conditioning=auxiliary"], "ConcatGenerator", "Auxiliary", {"classification", "generator_classification"}),
    (["conditioning=auxiliary", "objective=wgan"], "ConcatGenerator", "Auxiliary", {"weight_clipping"}),
    (["discriminator_labels=d2d_ce"], "UnlabelledGenerator", "Proxies", {"d2d_ce", "generator_d2d_ce"}),
    (["conditioning=twin_logits"], "BatchNorm", "TwinLogits", {"classification"}),
    (["conditioning=none"], "UnlabelledGenerator", "UnlabelledDiscriminator", set()),
]


@pytest.mark.parametrize(("overrides", "generator", "discriminator", "regularizers"), CHOSEN)
def test_the_command_line_chooses_one_or_both(
    overrides: list[str], generator: str, discriminator: str, regularizers: set[str]
) -> None:
    config = composed(*overrides)
    assert config["generator_labels"]["_target_"].endswith(f".{generator}")
    assert config["discriminator_labels"]["_target_"].endswith(f".{discriminator}")
    assert regularizers <= set(config["regularizer"])


REFUSED = [
    (["conditioning=projection", "model.generator.batch_norm=false"], "has no batch norm, which would take the labels"),
    (
        ["conditioning=twin_logits", "objective=realness", "objective.feature_resampling=true"],
        "feature_resampling=true",
    ),
    *((["objective=san", f"conditioning={name}"], "set discriminator_labels=none") for name in CHANGING),
    (["regularizer=classification"], "regularizer.classification: the discriminator has no class logits"),
    (["regularizer=generator_d2d_ce"], "regularizer.generator_d2d_ce: the discriminator has no embedding"),
    (["generator_labels=shared_batch_norm", "generator_labels.dim=0"], "dim=0 must be at least 1"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        one_turn(composed(*overrides))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
