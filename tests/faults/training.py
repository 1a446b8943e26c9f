"""Trainings that are lost: what is left says so, and everything saved before is whole."""

import json
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.commands.train import train as gan_train
from gan_cli.config.read import read_config
from gan_cli.errors import DivergedError, LostError
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers.gradient_penalty import GradientPenalty
from gan_cli.runs.checkpoint import complete
from gan_cli.runs.state import read_state

from ..conftest import composed_config
from . import Fault

STEPS = 20
SMALL = [
    *("dataset=ring", "dataset.points_per_mode=20", "model=mlp", "batch_size=4", "num_eval_images=16", "latent_dim=2"),
    *("model.generator.hidden=[8]", "model.discriminator.hidden=[8]", "objective=wgan_gp", "device=cpu"),
    *(f"steps={STEPS}", "log_every=1000", "checkpoint_every=1", "sample_every=0", "evaluate_every=0"),
]
TERMS = {  # of which player each is
    "adversarial of the discriminator": (Wasserstein, "discriminator_loss", "the discriminator's adversarial loss"),
    "adversarial of the generator": (Wasserstein, "generator_loss", "the generator's adversarial loss"),
    "penalty": (GradientPenalty, "penalty", "the discriminator's gradient_penalty loss"),
}


@contextmanager
def broken(owner: type, method: str, at: int, value: float) -> Iterator[None]:
    """Inside, the `at`-th value of this term is `value`."""
    original, calls = getattr(owner, method), []

    def failing(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        term: torch.Tensor = original(*arguments)
        return term + value if len(calls) == at else term

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, failing)
        yield


def not_finite(folder: Path, randomness: random.Random) -> None:
    """A random term is NaN or infinite at a random step, long before the next record."""
    step = randomness.randint(1, STEPS)
    owner, method, said = TERMS[randomness.choice(list(TERMS))]
    value = randomness.choice([math.nan, math.inf, -math.inf])
    config, options = read_config(composed_config(*SMALL, f"run_dir={folder / 'run'}"))
    with broken(owner, method, step, value), pytest.raises(LostError) as end:
        gan_train(config, options, SMALL, "", "test")
    assert isinstance(end.value, DivergedError)
    assert f"{said} is {value} at step {step};" in str(end.value)
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("diverged", step - 1)
    assert (folder / "run" / "diagnosis.png").is_file()
    newest = complete(folder / "run" / "checkpoints")[-1]
    assert newest.name == f"step-{step - 1:08d}"
    values = read_state(newest / "state.safetensors").values()
    assert all(value.isfinite().all() for value in values if isinstance(value, torch.Tensor))


CASES = [Fault("a loss that is not finite", not_finite, times=50, quick=1)]
