"""Parts of the user's own, in a folder beside the one of --config-dir."""

import sys
from pathlib import Path

import pytest

from ..conftest import EVERY_LABEL, TINY, Command

PARTS = """
from dataclasses import dataclass

import torch
from torch import nn
from gan_cli.datasets.dataset import Dataset
from gan_cli.latent_samplers import LatentSampler
from gan_cli.objectives import StdGAN


class Generator(nn.Module):
    def __init__(self, *, latent_dim, image_shape):
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]  # needs real numbers, as drop path does
        self.shape = image_shape
        self.layer = nn.Linear(latent_dim, image_shape[0] * image_shape[1] * image_shape[2])

    def forward(self, codes):
        return torch.tanh(self.layer(codes)).view(-1, *self.shape)


class Laplace(LatentSampler):
    def __init__(self, latent_dim):
        self.latent_dim = latent_dim

    def sample(self, count, device):
        zero = torch.zeros(self.latent_dim, device=device)
        return torch.distributions.Laplace(zero, zero + 1).sample((count,))


@dataclass(frozen=True, kw_only=True)
class Lost(Dataset):
    protocol = {}

    def load(self):
        return {}["images"]


class Odd(StdGAN):
    def __init__(self, saturating, real_target):
        raise LookupError("no such table")
"""
CHOICES = {
    "model": "generator: {_target_: own_parts.Generator}\n"
    "discriminator: {_target_: gan_cli.models.mlp.Discriminator, hidden: [4]}\n",
    "latent_sampler": "{_target_: own_parts.Laplace, latent_dim: '${latent_dim}'}\n",
}
OWN = ["--config-dir", "conf", "model=own", "latent_sampler=own", "device=cpu", *TINY[:3]]


@pytest.fixture
def own(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    Path("own_parts.py").write_text(PARTS)
    for group, text in CHOICES.items():
        (Path("conf") / group).mkdir(parents=True)
        (Path("conf") / group / "own.yaml").write_text(text)
    return command


@pytest.mark.slow
def test_parts_that_compute_with_numbers_in_their_constructors_can_be_used_again(own: Command) -> None:
    code, _, err = own("train", *OWN, "run_dir=run")
    assert code == 0, err
    again = ["checkpoint=run", "trust=own_parts", "device=cpu"]
    for name, *more in (["eval"], ["sample", "latents=interpolate"], ["sample", "latent_sampler=gaussian"]):
        code, _, err = own(name, *again, *more)
        assert code == 0, err
    Path("run/summary.json").unlink()
    code, _, err = own("train", "resume=run", "trust=own_parts", "device=cpu")
    assert code == 0, err


def test_a_package_that_is_not_trusted_is_not_imported(own: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own("train", *OWN, "run_dir=run")[0] == 0
    monkeypatch.delitem(sys.modules, "own_parts")
    code, _, err = own("eval", "checkpoint=run", "device=cpu")
    assert code == 2, err
    assert "trust=own_parts allows it" in err
    assert "own_parts" not in sys.modules


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "dataset._target_=own_parts.Lost ~dataset.image_size "
            + " ".join(f"dataset.{name}=1 ~dataset.{name}" for name in EVERY_LABEL),  # Hydra cannot remove a null
            "the data set cannot be loaded: KeyError: 'images' (own_parts.py, line 36)",
        ),
        ("objective._target_=own_parts.Odd", "objective: LookupError: no such table (own_parts.py, line 41)"),
        (
            "objective._target_=nobodys.Loss",
            "no module named 'nobodys': it has to be installed, lie beside the folder of --config-dir",
        ),
    ],
)
def test_errors_of_own_code_are_one_line_with_their_place(own: Command, override: str, message: str) -> None:
    code, _, err = own("train", *OWN, *override.split(), "run_dir=run")
    assert code == 2, err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("run").exists()
