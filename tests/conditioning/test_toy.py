"""Whatever way labels take, the samples of each label land on its mode of a mixture of Gaussians."""

from collections.abc import Callable

import pytest
import torch

from gan_cli.evaluation import generate
from gan_cli.experiment import Experiment
from gan_cli.trainer import train

Build = Callable[..., Experiment]
RING = [
    *("dataset=ring", "dataset.std=0.02", "dataset.points_per_mode=500", "latent_dim=2", "batch_size=128", "steps=300"),
    *("model=mlp", "model.generator.hidden=[64,64]", "model.discriminator.hidden=[64,64]"),
    "model.generator.batch_norm=true",
]
REALNESS = ["objective=realness", "num_outcomes=5"]
WAYS = [
    ["conditioning=concat"],
    ["conditioning=projection"],
    ["conditioning=projection", "generator_labels=shared_batch_norm"],
    ["conditioning=projection", "generator_labels=concat", "model.generator.batch_norm=false"],
    ["conditioning=auxiliary"],
    ["conditioning=twin_logits"],
    # In large batches its fractions hold hardly anything of the proxies, and labels land on each other's modes.
    ["conditioning=contrastive", "batch_size=16", "steps=1500"],
    ["conditioning=d2d_ce"],
    ["conditioning=concat", *REALNESS],
    ["conditioning=projection", *REALNESS],
    ["conditioning=twin_logits", *REALNESS],
]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", WAYS, ids=" ".join)
def test_the_samples_of_each_label_land_on_its_mode(experiment: Build, overrides: list[str]) -> None:
    ring = experiment(*RING, *overrides)
    for _ in train(ring):
        pass
    real, modes = ring.training_set, ring.training_set.modes
    assert modes is not None
    generated = generate(ring.gan, 2000, 0, None, torch.float32)
    nearest = torch.cdist(generated.values.flatten(1), modes.centers).argmin(1)
    mode_of = torch.cdist(real.values.flatten(1), modes.centers).argmin(1)
    for label in range(8):
        own = mode_of[real.labels == label].unique()
        assert len(own) == 1
        assert (nearest[generated.labels == label] == own).float().mean() > 0.99
