"""gan-train when the world around it fails: memory, readers, folders, and values that are secret."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_cli.commands.train import folder_of_launch, remember_launch, warn_of_threads
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.objectives.stdgan import StdGAN
from gan_cli.runs.checkpoint import find
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.progress import Progress

from ..conftest import TINY, Command, tiny_data
from ..pairwise import every_third_quick

BIN = Path(sys.executable).parent
POINTS = ["model=mlp", *tiny_data("mlp"), "device=cpu", "run_dir=run"]


def status() -> str:
    return json.loads(Path("run/summary.json").read_text())["status"]


def at_the_third_step(monkeypatch: pytest.MonkeyPatch, fail: Any) -> None:
    loss, calls = StdGAN.discriminator_loss, []

    def failing(self: StdGAN, *logits: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            fail()
        return loss(self, *logits)

    monkeypatch.setattr(StdGAN, "discriminator_loss", failing)


def out_of_memory_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("fail", [lambda: torch.empty(2**50), out_of_memory_on_a_gpu], ids=["CPU", "GPU"])
def test_out_of_memory_says_what_to_lower(command: Command, monkeypatch: pytest.MonkeyPatch, fail: Any) -> None:
    at_the_third_step(monkeypatch, fail)
    code, _, err = command("train", *POINTS)
    assert code == 1
    advice = "out of memory at step 3 with batch_size=4: try batch_size=2, or a smaller model"
    assert err.splitlines()[-1] == f"gan-train: {advice}"
    assert (status(), json.loads(Path("run/summary.json").read_text())["error"]) == ("failed", advice)
    assert find(Path("run"), "latest").step == 0


@pytest.mark.filterwarnings("default")
def test_an_error_of_a_display_does_not_end_the_run(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Progress, reading: object) -> None:
        raise ConnectionError("the server is gone")

    monkeypatch.setattr(Progress, "advanced", broken)
    code, _, err = command("train", *POINTS, "log_every=1")
    assert (code, status()) == (0, "completed")
    assert err.count("Progress is left out from now on: the server is gone") == 1


def test_a_record_that_cannot_be_written_does(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RunFolder, record: object) -> None:
        raise OSError(28, "No space left on device", "run/metrics.jsonl")

    monkeypatch.setattr(RunFolder, "recorded", full)
    code, _, err = command("train", *POINTS, "log_every=1")
    assert (code, status()) == (1, "failed")
    last = err.splitlines()[-1]
    assert "at step 2, run/metrics.jsonl cannot be written: No space left on device; " in last
    assert "MB are free, and a checkpoint needs 0 MB; the run is safe up to step 0: free some space" in last
    assert last.endswith("gan-train resume=run")


@pytest.mark.filterwarnings("default")
def test_a_picture_that_cannot_be_written_does_not(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *drawn: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    for name in ("save_real", "save_fake", "save_curves"):
        monkeypatch.setattr(f"gan_cli.runs.pictures.{name}", full)
    code, _, err = command("train", *POINTS)
    assert (code, status()) == (0, "completed")
    assert err.count("a picture cannot be drawn: [Errno 28] No space left on device: 'run/curves.png'") == 1


@pytest.mark.parametrize(
    ("place", "problem"),
    every_third_quick(
        [
            ("outputs=/proc/nothing", "the run's folder cannot be created: .*No such file or directory"),
            ("run_dir=/proc/nothing", "the run's folder cannot be created: .*No such file or directory"),
            ("run_dir=file/run", "the run's folder cannot be created: .*Not a directory"),
            ("outputs=file", "the run's folder cannot be created: .*(File exists|Not a directory)"),
            ("run_dir=file", "run_dir=file is not a folder"),
            (f"run_dir={'a' * 300}", "run_dir=a+ cannot be a folder: .*File name too long"),
            (f"outputs={'a' * 300}", "the run's folder cannot be created: .*File name too long"),
            (f"resume={'a' * 300}", "resume=a+ cannot be read: .*File name too long"),
            ("resume=file", "resume=file is not a run's folder"),
        ]
    ),
)
def test_folders_that_cannot_be_written_are_refused(command: Command, place: str, problem: str) -> None:
    Path("file").write_text("")
    given = [] if place.startswith("resume") else [item for item in POINTS if not item.startswith("run_dir")]
    code, out, err = command("train", *given, place)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert re.search(problem, err), err
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_a_name_of_240_characters_is_a_name(command: Command) -> None:
    code, _, err = command("train", *POINTS[:-1], f"run_dir={'a' * 240}")
    assert code == 0, err
    assert command("train", f"resume={'a' * 240}")[0] == 0


def photographs_at(place: str, run_dir: str = "run") -> list[str]:
    images = ["dataset=image_folder", f"dataset.root={place}", "dataset.image_size=16", "dataset.channels=1"]
    scored = ["metrics@dataset.metrics=digits", "dataset.metrics.inception_score_splits=2"]
    return [*images, *scored, *TINY, "num_eval_images=12", "device=cpu", f"run_dir={run_dir}"]


def test_a_value_from_the_environment_is_stored_as_it_was_typed(
    command: Command, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", str(photographs))
    code, _, err = command("train", *photographs_at("${oc.env:PLACE}"))
    assert code == 0, err
    texts = {path: path.read_text(errors="replace") for path in Path("run").rglob("*") if path.is_file()}
    assert [str(path) for path, text in texts.items() if str(photographs) in text] == []
    assert "${oc.env:PLACE}" in texts[Path("run/summary.json")]
    assert command("eval", "checkpoint=run")[0] == 0
    assert command("train", *photographs_at("${oc.env:PLACE}"))[0] == 0, "the same command continues it"
    monkeypatch.delenv("PLACE")
    code, _, err = command("eval", "checkpoint=run")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "Environment variable 'PLACE' not found" in err


@pytest.mark.slow
def test_a_run_from_elsewhere_is_continued_with_data_that_the_user_names(
    command: Command, photographs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert command("train", *photographs_at(str(photographs)))[0] == 0
    for checkpoint in Path("run/checkpoints").glob("step-00000003"):
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    monkeypatch.setenv("GAN_CLI_CACHE", str(tmp_path / "another user"))
    for name, refused in (("train", "resume=run"), ("eval", "checkpoint=run")):
        code, _, err = command(name, refused)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "was not started by you here, so its paths are not believed: add dataset.root=<folder>" in err
    code, _, err = command("train", "resume=run", f"dataset.root={photographs}")
    assert (code, status()) == (0, "completed"), err
    assert command("eval", "checkpoint=run", f"dataset.root={photographs}")[0] == 0
    assert find(Path("run"), "latest").config["dataset"]["root"] == str(photographs)
    code, _, err = command("eval", "checkpoint=run")
    assert code == 2, "whoever continues a run does not become the one who started it"
    assert "was not started by you here" in err


@pytest.mark.slow
def test_a_reader_of_stderr_that_goes_does_not_end_the_run(tmp_path: Path) -> None:
    """As `2>&1 | head -1` or a terminal that is closed."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [str(BIN / "gan-train"), *POINTS, "steps=30", "log_every=1"], cwd=tmp_path, stdout=writing, stderr=writing
    )
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    assert process.wait(timeout=120) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "completed"


@pytest.mark.slow
def test_a_signal_of_a_terminal_that_closes_is_ignored_under_nohup(tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = subprocess.Popen(
        [str(BIN / "gan-train"), *POINTS, "steps=400", "log_every=1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=ignore,
    )
    assert process.stderr is not None
    while b"step" not in process.stderr.readline():
        assert process.poll() is None
    assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


@pytest.mark.parametrize(("gain", "told"), [(0.4, True), (1.09, True), (1.1, False), (2.0, False)])
def test_threads_that_gain_nothing_are_named(monkeypatch: pytest.MonkeyPatch, gain: float, told: bool) -> None:
    monkeypatch.setattr(Engine, "gain_of_threads", lambda engine: gain)
    warned = pytest.warns(UserWarning, match="OMP_NUM_THREADS=1 is likely to be faster") if told else nullcontext()
    monkeypatch.delenv("OMP_NUM_THREADS")
    with warned:
        warn_of_threads(Engine())
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the user's choice needs no advice
    warn_of_threads(Engine())


def test_the_gain_of_threads_is_measured_and_their_number_stays() -> None:
    assert Engine().gain_of_threads() == math.inf  # tests run with one thread
    torch.set_num_threads(2)
    try:
        gain = Engine().gain_of_threads()
        assert 0 < gain < math.inf
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_restart_finds_the_folder_of_its_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, folder = tmp_path / "outputs", tmp_path / "run"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "mine")
    remember_launch(outputs, folder)
    assert not outputs.exists()  # torchrun would not start it again
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "2")
    remember_launch(outputs, folder)
    assert folder_of_launch(outputs) is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert folder_of_launch(outputs) == folder
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another")
    with pytest.raises(UserError, match="set run_dir=<folder>"):
        folder_of_launch(outputs)
