"""The core as a library: the names that gan_cli gives, the example, and that composing leaves nothing behind."""

import ast
import os
import subprocess
import sys

import pytest
import torch
from hydra import version
from hydra.core.global_hydra import GlobalHydra

import gan_cli
from gan_cli.config.compose import CONF
from gan_cli.errors import UserError

from .conftest import TINY

EXAMPLE = CONF.parent / "examples" / "library.py"


def test_every_name_is_there_and_listed() -> None:
    assert sorted(gan_cli.MODULES) == sorted(gan_cli.__all__)
    assert all(getattr(gan_cli, name).__name__ == name for name in gan_cli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        gan_cli.trian  # noqa: B018


def test_importing_the_package_imports_neither_torch_nor_hydra() -> None:
    code = "import sys, gan_cli; print(sorted({'torch', 'hydra', 'omegaconf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_composing_leaves_nothing_behind_and_says_what_is_wrong() -> None:
    before = version.getbase()
    first, second = gan_cli.config_of([*TINY, "seed=1"]), gan_cli.config_of([*TINY, "seed=2"])
    assert (first["seed"], second["seed"]) == (1, 2)
    assert not GlobalHydra.instance().is_initialized()
    assert version.getbase() == before
    with pytest.raises(UserError, match="unknown key 'stepz': did you mean steps"):
        gan_cli.config_of(["stepz=3"])
    with pytest.raises(UserError, match="unknown objective 'hing': did you mean hinge"):
        gan_cli.config_of(["objective=hing"])


def test_two_experiments_side_by_side_do_not_meet() -> None:
    """Steps of two experiments in turn give what each gives alone."""

    def weights(*seeds: int) -> list[torch.Tensor]:
        engine = gan_cli.choose_engine("cpu")
        built = [gan_cli.build_experiment(gan_cli.config_of([*TINY, f"seed={seed}"]), engine) for seed in seeds]
        for _ in zip(*(gan_cli.train(experiment) for experiment in built), strict=True):
            pass
        return [next(iter(experiment.gan.ema_generator.parameters())) for experiment in built]

    together = weights(1, 2)
    assert torch.equal(together[0], weights(1)[0])
    assert torch.equal(together[1], weights(2)[0])


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the sources are not here")
def test_the_example_is_short_and_asks_for_no_global() -> None:
    source = EXAMPLE.read_text()
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith(('"""', "#"))]
    assert len(lines) <= 20
    imported = [node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    assert imported == ["gan_cli"]


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the sources are not here")
def test_the_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert [line.split()[1] for line in told[:4]] == ["50", "100", "150", "200"]
    assert told[4] == "images (1000, 1, 16, 16) torch.uint8 from codes (1000, 128)"
    assert "fid_digits_v2" in told[5]
