"""gan-eval and gan-sample build what they need, and nothing of what only trains."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_cli.commands.evaluate import evaluate
from gan_cli.commands.sample import sample
from gan_cli.commands.train import train
from gan_cli.config import build as builder
from gan_cli.config.read import SAMPLING, read_config, read_evaluation, read_options

from ..conftest import TINY, Command, composed_config


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
    evaluate(read_evaluation(composed_config(*overrides, config_name="eval"), overrides, None))
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


@pytest.mark.filterwarnings("default:.* images (are scored against|were resized)")
@pytest.mark.slow
def test_images_of_a_checkpoint_score_as_the_checkpoint_does(command: Command) -> None:
    """Both are rounded to bytes before they are scored, and PNG files lose nothing."""
    command("train", *TINY, "steps=1", "num_eval_images=40", "device=cpu", "run_dir=run")
    checkpoint = json.loads(command("eval", "checkpoint=run")[1])
    folder = Path(command("sample", "checkpoint=run", "num_images=40")[1].strip())
    code, out, err = command("eval", f"images={folder}", "dataset=digits")
    assert code == 0, err
    result = json.loads(out)
    assert (result["metrics"], result["floor"]) == (checkpoint["metrics"], checkpoint["floor"])
    stamp = {"num_resized": 0, "fake_sha256": result["protocol"]["fake_sha256"]}
    ours = {key: value for key, value in checkpoint["protocol"].items() if key not in ("weights", "evaluation_seed")}
    assert result["protocol"] == ours | stamp
    assert len(stamp["fake_sha256"]) == 64
    assert "40 images are scored against 1,797 real ones" in err
    assert json.loads((Path(result["folder"]) / "result.json").read_text()) == result

    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted((folder / "images").iterdir())])[..., None]
    np.savez("adm.npz", pixels)
    np.save("array.npy", pixels)
    with zipfile.ZipFile("images.zip", "w") as archive:
        for file in sorted((folder / "images").iterdir()):
            archive.write(file, file.name)
    for name in ("adm.npz", "array.npy", "images.zip"):
        again = json.loads(command("eval", f"images={name}", "dataset=digits")[1])
        assert (again["metrics"], again["protocol"]) == (result["metrics"], result["protocol"])

    np.save("small.npy", pixels[:, :8, :8])
    np.save("floats.npy", pixels / 255)
    np.save("pickled.npy", np.array([{}, {}]), allow_pickle=True)
    for name, message in (
        (
            "small.npy",
            "40 of 40 images of images=small.npy cannot be used: image 0 (8 x 8 pixels, the real images have",
        ),
        ("floats.npy", "images=floats.npy holds no bytes [images, height, width, 1 or 3] as arr_0"),
        ("pickled.npy", "images=pickled.npy cannot be read"),
    ):
        code, out, err = command("eval", f"images={name}", "dataset=digits")
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert message in err


@pytest.mark.filterwarnings("default:.* images (are scored against|were resized)")
def test_two_folders_are_compared(command: Command, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr("gan_cli.work.SECONDS_BETWEEN_CALLS", 1e-9)
        patched.setattr("gan_cli.runs.progress.WorkLine.show", lambda line, text: told.append(text))
        code, out, err = command("eval", f"images={photographs}", f"reference={photographs}", "metrics=digits")
    assert code == 0, err
    assert "hashing the given images 1/1" in told
    same = json.loads(out)
    assert same["metrics"]["fid_digits"] == pytest.approx(0, abs=1e-3)
    assert same["protocol"]["image_size"] == 48
    assert same["protocol"]["num_resized"] == 24  # 64 x 48 pixels, cropped as the reference is
    other = ["dataset=image_folder", f"dataset.root={photographs}", "dataset.image_size=48"]
    written = json.loads(command("eval", f"images={photographs}", *other, "metrics@dataset.metrics=digits")[1])
    assert written["metrics"]["fid_digits"] == pytest.approx(0, abs=1e-3)
    half = Path("half")
    half.mkdir()
    for number, file in enumerate(sorted((photographs / "temple").iterdir())):
        Image.open(file).crop((0, 0, 48, 48)).save(half / f"{number}.png")
    code, out, err = command("eval", f"images={half}", *other, "metrics@dataset.metrics=digits", "dataset.crop_size=40")
    assert code == 0, err
    assert json.loads(out)["protocol"]["num_resized"] == 0  # they have the final size: they are not cropped again
    assert json.loads(out)["metrics"]["fid_digits"] > 0.01
