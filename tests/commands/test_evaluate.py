"""gan-eval and gan-sample build what they need, and nothing of what only trains."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_cli.commands.evaluate import evaluate
from gan_cli.commands.sample import sample
from gan_cli.commands.train import train
from gan_cli.config import build as builder
from gan_cli.config.read import EVALUATION, SAMPLING, read_config, read_options

from ..conftest import TINY, composed_config


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A finished run with a penalty on each player, and spectral norm."""
    overrides = [*TINY, "steps=2", "regularizer=[r1,mode_seeking,spectral_norm]", f"run_dir={tmp_path / 'run'}"]
    config, options = read_config(composed_config(*overrides, "device=cpu"))
    train(config, options, overrides, "", "test")
    return tmp_path / "run"


def evaluated(run: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    overrides = [f"checkpoint={run}", "device=cpu"]
    capsys.readouterr()
    evaluate(read_options(composed_config(*overrides, config_name="eval"), EVALUATION, overrides, None))
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def sampled(run: Path, out: Path) -> None:
    overrides = [f"checkpoint={run}", f"out={out}", "num_images=2", "device=cpu"]
    sample(read_options(composed_config(*overrides, config_name="sample"), SAMPLING, overrides, None))


def spy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of everything that is built from now on."""
    built: list[str] = []
    build: Callable[..., Any] = builder.build

    def noting(path: str, *args: Any, **given: Any) -> Any:
        built.append(path)
        return build(path, *args, **given)

    monkeypatch.setattr(builder, "build", noting)
    return built


def test_no_optimizer_and_no_penalty_is_built_to_score_or_sample(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only bounds that change a network for good, as spectral norm does, have to be there to restore its weights."""
    built = spy(monkeypatch)
    result = evaluated(trained, capsys)
    assert result["metrics"] == json.loads((trained / "summary.json").read_text())["metrics"]["last"]
    sampled(trained, tmp_path / "out")
    assert {path for path in built if "optimizer" in path} == set()
    assert {path for path in built if path.startswith("regularizer")} <= {"regularizer.spectral_norm"}
    assert {"dataset", "objective", "model.generator", "model.discriminator", "latent_sampler"} <= set(built)


def test_training_does_build_them(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spy above can see what it says is not there."""
    built = spy(monkeypatch)
    overrides = [*TINY, "steps=1", f"run_dir={tmp_path / 'other'}", "device=cpu"]
    config, options = read_config(composed_config(*overrides))
    train(config, options, overrides, "", "test")
    assert {"generator_optimizer", "discriminator_optimizer", "regularizer.r1"} <= set(built)
