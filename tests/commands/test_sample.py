"""gan-sample: folders that go on, and codes that are arranged."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from gan_cli.commands.sample import check_folder
from gan_cli.errors import UserError
from gan_cli.runs.pictures import num_in_grid

from ..conftest import TINY, TINY_MLP, Command

RUN = ["steps=1", "device=cpu", "run_dir=run", "latent_dim=2", "dataset=digits"]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "images").iterdir()}


@pytest.mark.slow
def test_a_folder_goes_on_and_keeps_what_it_holds(command: Command) -> None:
    command("train", *TINY, *RUN)
    code, out, err = command("sample", "checkpoint=run", "num_images=16")
    assert code == 0, err
    folder = Path(out.strip())
    assert folder == Path("outputs/samples/run-step-1-seed-0")
    assert {file.name for file in folder.iterdir()} == {".lock", "grid.png", "images", "sample.json"}
    first = contents(folder)
    assert sorted(first) == [f"{number:05d}.png" for number in range(16)]
    before = {name: (folder / "images" / name).stat().st_mtime_ns for name in first}

    code, out, err = command("sample", "checkpoint=run", "num_images=64")
    assert (code, out.strip()) == (0, str(folder)), err
    more = contents(folder)
    assert len(more) == 64
    assert {name: more[name] for name in first} == first
    assert {name: (folder / "images" / name).stat().st_mtime_ns for name in first} == before
    tile = np.asarray(Image.open(folder / "grid.png"))
    assert tile.shape == (3 * (8 * 17 - 1), 3 * (8 * 17 - 1))  # all 64

    (folder / "images" / "00003.png").unlink()  # as one that was killed leaves it
    (folder / "images" / ".00004.png.1.partial").write_text("half")
    (folder / "grid.png").unlink()
    assert command("sample", "checkpoint=run", "num_images=64")[0] == 0
    assert contents(folder) == more
    assert (folder / "grid.png").is_file()

    for words, message in (
        (["seed=1"], "holds images of another seed: choose another with out=<folder>"),
        (["latents=interpolate"], "holds images of another latents: choose"),
        (["latent_sampler=uniform"], "holds images of another latent_sampler: choose"),
    ):
        code, out, err = command("sample", "checkpoint=run", f"out={folder}", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err
    with FileLock(folder / ".lock"):
        code, _, err = command("sample", "checkpoint=run")
    assert (code, err.count("\n")) == (2, 1)
    assert "is being written by another process" in err
    (folder / "images" / "00003.png").write_bytes(b"no picture")
    code, _, err = command("sample", "checkpoint=run")
    assert (code, err.count("\n")) == (2, 1)
    assert "00003.png is not what was written, remove it to draw it again" in err


@pytest.mark.slow
def test_a_killed_command_goes_on(command: Command) -> None:
    command("train", *TINY, *RUN)
    words = ["checkpoint=run", "num_images=600"]
    process = subprocess.Popen([Path(sys.executable).parent / "gan-sample", *words, "out=killed"])
    while process.poll() is None and len(list(Path("killed").glob("images/*.png"))) < 20:
        time.sleep(0.01)
    process.kill()
    process.wait()
    held = {file.name: file.read_bytes() for file in Path("killed").glob("images/*.png")}
    assert 20 <= len(held) < 600
    for name in ("killed", "whole"):
        assert command("sample", *words, f"out={name}")[0] == 0
    assert contents(Path("killed")) == contents(Path("whole"))
    assert {name: contents(Path("whole"))[name] for name in held} == held


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "sample.json").write_text("{")
    with pytest.raises(UserError, match="cannot be added to"):
        check_folder(
            tmp_path, {"checkpoint": "", "step": 1, "seed": 0, "latent_sampler": {}, "latents": "random", "labels": ""}
        )


@pytest.mark.slow
def test_arranged_images_begin_and_end_at_the_seeds_own(command: Command) -> None:
    command("train", *TINY, *RUN, "ema_decay=0.0", "generator_optimizer.lr=0.1")  # images that differ
    command("sample", "checkpoint=run", "num_images=4", "out=own")
    code, out, err = command("sample", "checkpoint=run", "num_images=16", "latents=interpolate")
    assert (code, out.strip()) == (0, "outputs/samples/run-step-1-seed-0-interpolate"), err
    own, between = (
        [np.asarray(Image.open(file)).astype(int) for file in sorted((folder / "images").iterdir())]
        for folder in (Path("own"), Path(out.strip()))
    )
    for row in (0, 1):
        for end, image in ((8 * row, own[2 * row]), (8 * row + 7, own[2 * row + 1])):
            assert abs(between[end] - image).max() <= 1  # rounded from another batch
        assert any(abs(between[8 * row + 4] - image).max() > 1 for image in own)
    with Image.open(Path(out.strip()) / "grid.png") as grid:
        assert grid.width > 3 * grid.height  # two rows of eight

    code, out, err = command("sample", "checkpoint=run", "num_images=9", "latents=grid")
    assert (code, out.strip()) == (0, "outputs/samples/run-step-1-seed-0-grid-3x3"), err
    for words, message in (
        (["latents=interpolate", "num_images=20"], "draws rows of 8: num_images=20 could be 24"),
        (["latents=grid", "num_images=10"], "num_images=10 must be one, such as 16"),
        (["latents=grid", "latent_sampler=advlat_z"], "add latent_sampler=gaussian, which is the prior alone"),
        (["latents=interpolate", "latent_sampler=drs"], "add latent_sampler=gaussian"),
        (["latents=spiral"], "latents=spiral must be one of random, interpolate, grid"),
    ):
        code, out, err = command("sample", "checkpoint=run", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


@pytest.mark.slow
def test_classes_have_a_row_each_or_are_drawn_alone(command: Command) -> None:
    more = ["conditioning=concat", "ema_decay=0.0", "generator_optimizer.lr=0.1"]
    command("train", *TINY, *RUN, *more)
    code, out, err = command("sample", "checkpoint=run", "labels=all")
    assert (code, out.strip()) == (0, "outputs/samples/run-step-1-seed-0-labels-all"), err
    every = pixels(Path(out.strip()))
    assert len(every) == 100  # ten of each class
    code, out, err = command("sample", "checkpoint=run", "labels=3", "num_images=10")
    assert (code, out.strip()) == (0, "outputs/samples/run-step-1-seed-0-labels-3"), err
    assert abs(pixels(Path(out.strip())) - every[30:40]).max() <= 1  # rounded from another batch
    assert abs(every[30:40] - every[40:50]).max() > 1
    with Image.open("outputs/samples/run-step-1-seed-0-labels-all/grid.png") as grid:
        assert grid.width == grid.height
    for words, message in (
        (["labels=10"], "labels=10 must be all, or a class from 0 to 9"),
        (["labels=all", "num_images=15"], "num_images=15 could be 20"),
        (["labels=all", "latents=grid"], "remove latents=grid"),
        (["labels=all", "latent_sampler=drs"], "labels=all takes codes of the prior as they are"),
    ):
        code, out, err = command("sample", "checkpoint=run", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err


@pytest.mark.slow
def test_a_run_without_labels_draws_none(command: Command) -> None:
    command("train", *TINY, *RUN)
    code, _, err = command("sample", "checkpoint=run", "labels=all")
    assert (code, err) == (2, "gan-sample: labels=all: this run's generator takes no labels, remove it\n")


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)).astype(int) for file in sorted((folder / "images").iterdir())])


@pytest.mark.slow
def test_a_plane_of_more_dimensions_is_refused_and_points_are_joined(command: Command) -> None:
    toy = ["dataset=grid3", "model=mlp", "dataset.points_per_mode=8", "device=cpu", "steps=1"]
    command("train", *TINY_MLP, *toy, "latent_dim=3", "run_dir=wide")
    code, _, err = command("sample", "checkpoint=wide", "latents=grid")
    assert (code, err.count("\n")) == (2, 1)
    assert "these codes have 3 coordinates: use latents=interpolate" in err
    command("train", *TINY_MLP, *toy, "latent_dim=2", "run_dir=run")
    for words, count in ((["latents=interpolate", "num_images=8"], 8), (["latents=grid", "num_images=9"], 9)):
        code, out, err = command("sample", "checkpoint=run", *words)
        assert code == 0, err
        assert len((Path(out.strip()) / "points.csv").read_text().splitlines()) == count + 1
        assert not (Path(out.strip()) / "images").exists()
    command("sample", "checkpoint=run", "num_images=5")
    command("sample", "checkpoint=run", "num_images=7")
    folder = Path("outputs/samples/run-step-1-seed-0")
    assert len((folder / "points.csv").read_text().splitlines()) == 8
    assert json.loads((folder / "sample.json").read_text())["latents"] == "random"


def test_large_images_have_smaller_grids() -> None:
    assert (num_in_grid((3, 32, 32)), num_in_grid((1, 1024, 1024)), num_in_grid((3, 9000, 9000))) == (400, 64, 1)
