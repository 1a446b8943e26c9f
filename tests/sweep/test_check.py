"""What cannot be built is found before a sweep writes anything."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gan_cli.config.build import build_dataset, check_parts
from gan_cli.config.read import config_of
from gan_cli.data import TrainingSet
from gan_cli.datasets import Digits
from gan_cli.errors import UserError
from gan_cli.models import dcgan
from gan_cli.sweep.check import check_jobs
from gan_cli.sweep.command_line import kind_of
from gan_cli.sweep.sweep_folder import Job

from ..conftest import TINY


def jobs(*overrides: list[str]) -> list[Job]:
    return jobs_of(*([*TINY, *own] for own in overrides))


def jobs_of(*overrides: list[str]) -> list[Job]:
    return [Job(f"job-{number}", own, config_of(own)) for number, own in enumerate(overrides)]


def test_every_problem_of_data_and_parts_is_told_at_once(tmp_path: Path, photographs: Path) -> None:
    there = ["dataset=image_folder", "dataset.image_size=16", f"dataset.root={photographs}"]
    missing = ["dataset=image_folder", f"dataset.root={tmp_path / 'missing'}"]
    with pytest.raises(UserError) as refused:
        check_jobs(
            jobs(there, ["dataset.image_size=17"], ["dataset=grid"], missing, ["generator_optimizer.lr=-1"]), here=True
        )
    first, second, third, fourth = str(refused.value).split("; ")
    assert "not 1 x 17 x 17: set dataset.image_size=16" in first
    assert "not 2 x 1 x 1: use model=mlp" in second
    assert f"dataset.root={tmp_path / 'missing'} is not a folder" in third
    assert fourth == "generator_optimizer: Invalid learning rate: -1"
    check_jobs(jobs(there), here=True)
    check_jobs(jobs(missing), here=False)  # another machine may have it


def test_a_batch_beyond_the_images_is_told_before_anything_is_written(photographs: Path) -> None:
    """Of embedded and toy sets at once; of files when they have been prepared."""
    files = ["dataset=image_folder", "dataset.image_size=16", f"dataset.root={photographs}"]
    toy = ["dataset=ring", "model=mlp", "dataset.num_modes=2", "dataset.points_per_mode=10"]
    digits = ["batch_size=1798"], ["generator_batch_size=1799"]
    many = jobs_of(*digits, [*toy, "batch_size=21"], [*files, "batch_size=25"])
    known = ["batch_size=1798 is more than the 1797 images", "generator_batch_size=1799 is more than the 1797 images"]
    known.append("batch_size=21 is more than the 20 images")
    for prepared in (False, True):
        with pytest.raises(UserError) as refused:
            check_jobs(many, here=True)
        expected = [*known, *["batch_size=25 is more than the 24 images"] * prepared]
        assert str(refused.value).split("; ") == [f"{one} of the data set: lower it" for one in expected]
        build_dataset(many[3].config).load()
    check_jobs(jobs_of(["batch_size=1797"], [*toy, "batch_size=20"], [*files, "batch_size=24"]), here=True)


def test_data_of_torchvision_are_looked_for(tmp_path: Path) -> None:
    absent = ["dataset=mnist", f"dataset.root={tmp_path / 'absent'}"]
    with pytest.raises(UserError, match="MNIST is not in"):
        check_jobs(jobs(absent), here=True)
    check_jobs(jobs([*absent, "dataset.download=true"]), here=True)
    assert not (tmp_path / "absent").exists()


def test_seeds_and_steps_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = Digits.load

    def counted(dataset: Digits) -> TrainingSet:
        loaded.append(dataset)
        return load(dataset)

    monkeypatch.setattr(Digits, "load", counted)
    many = [[f"seed={seed}", f"objective={name}"] for seed in range(3) for name in ("hinge", "stdgan")]
    check_jobs(jobs(*many), here=True)
    assert len(loaded) == 1


class Graded(dcgan.Generator):
    """Reads values in its constructor, which tensors without values do not have."""

    def __init__(self, *, width: int, latent_dim: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__(width=width, latent_dim=latent_dim, image_shape=image_shape)
        self.grades = [grade.item() for grade in torch.linspace(0, 1, 3)]
        self.scale = nn.Parameter(torch.ones(()))


def test_a_model_that_needs_values_is_built_with_them() -> None:
    config = config_of([*TINY, f"model.generator._target_={__name__}.Graded"])
    check_parts(config, (1, 16, 16))
    with pytest.raises(UserError, match="takes square images"):
        check_parts(config, (1, 17, 17))


def test_glob_chooses_among_all_files_also_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mlp_own.yaml").touch()
    assert kind_of(["objective=glob(*)", "model=glob(mlp*)"]) == {"settings": [], "swept": ["model"]}
    assert kind_of(["model=glob(resnet*)"]) == kind_of(["model=resnet"])
    monkeypatch.setattr("sys.argv", ["gan-sweep", "--config-dir", str(tmp_path)])
    assert kind_of(["model=glob(*_own)"]) == kind_of(["model=mlp_own"])
