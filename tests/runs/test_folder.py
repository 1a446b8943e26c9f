"""What a run's folder is made of, and that it can be read without what trains."""

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from gan_cli.errors import EndError
from gan_cli.files import Hashed
from gan_cli.runs.folder import RunFolder


@pytest.mark.parametrize("module", ["gan_cli.runs.folder", "gan_cli.runs.sink", "gan_cli.runs.signals"])
def test_a_folder_is_opened_without_hydra_or_torch(module: str) -> None:
    heavy = ("hydra", "omegaconf", "torch")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_killed_run_was_doing_is_forgotten_when_it_goes_on(tmp_path: Path) -> None:
    killed = RunFolder(tmp_path)
    killed.working("sampling images, block 3/20")
    assert RunFolder(tmp_path).activity() == "sampling images, block 3/20"
    RunFolder(tmp_path).rewind(0, concluded=True, vouched=None)
    assert RunFolder(tmp_path).activity() == ""


def test_scores_of_a_step_that_is_not_concluded_are_computed_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3):
        folder.recorded({"step": step, "losses": {}})
        folder.recorded({"step": step, "metrics": {"fid": 1.0}})
    folder.rewind(2, concluded=False, vouched=None)
    assert [(record["step"], "metrics" in record) for record in folder.records()] == [(1, False), (1, True), (2, False)]
    folder.recorded({"step": 2, "metrics": {"fid": 2.0}})
    folder.rewind(2, concluded=True, vouched=None)
    assert [(record["step"], "metrics" in record) for record in folder.records()][2:] == [(2, False), (2, True)]


def three_steps(path: Path) -> tuple[RunFolder, Hashed]:
    folder = RunFolder(path)
    for step in (1, 2, 3):
        folder.recorded({"step": step, "losses": {}})
    return folder, folder.vouched()


def test_records_that_a_checkpoint_vouches_for_are_taken_as_they_are(tmp_path: Path) -> None:
    folder, vouched = three_steps(tmp_path)
    folder.recorded({"step": 4, "losses": {}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunFolder(tmp_path).rewind(3, concluded=True, vouched=vouched)
    assert [record["step"] for record in folder.records()] == [1, 2, 3]


def test_what_is_vouched_for_follows_the_file_also_after_going_on(tmp_path: Path) -> None:
    _, vouched = three_steps(tmp_path)
    later = RunFolder(tmp_path)
    later.rewind(3, concluded=True, vouched=vouched)
    assert later.vouched() == vouched
    later.recorded({"step": 4, "losses": {}})
    content = (tmp_path / "metrics.jsonl").read_bytes()
    assert later.vouched() == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@pytest.mark.parametrize("damage", ["flipped", "cut", "line lost", "emptied", "removed"])
def test_damaged_records_are_said_and_kept(tmp_path: Path, damage: str) -> None:
    folder, vouched = three_steps(tmp_path)
    content = folder.metrics.read_bytes()
    damaged = {
        "flipped": content.replace(b"2", b"8"),
        "cut": content[:-9],
        "line lost": content[content.index(b"\n") + 1 :],
        "emptied": b"",
    }
    folder.metrics.unlink() if damage == "removed" else folder.metrics.write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match="is not what the checkpoint's run has written"):
        RunFolder(tmp_path).rewind(3, concluded=True, vouched=vouched)
    kept = list(tmp_path.glob("metrics.damaged-*.jsonl"))
    assert [path.read_bytes() for path in kept] == ([damaged[damage]] if damaged.get(damage) else [])
    assert len(folder.records()) < 3 or damage == "flipped"


def test_a_writer_whose_lock_file_was_removed_writes_nothing_more(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    with first.locked():
        first.recorded({"step": 1, "losses": {}})
        (tmp_path / ".lock").unlink()
        with second.locked():
            second.recorded({"step": 2, "losses": {}})
            for write in (lambda: first.recorded({"step": 3}), first.vouched, lambda: first.finished({})):
                with pytest.raises(EndError, match=r"\.lock was removed while the run was writing"):
                    write()
            second.recorded({"step": 4, "losses": {}})
    assert [record["step"] for record in first.records()] == [1, 2, 4]
    assert not (tmp_path / "summary.json").exists()


def test_a_full_disk_does_not_end_what_only_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    RunFolder(tmp_path).working("sampling images, block 3/20")


def test_incomplete_files_are_swept_everywhere(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    left = [
        place / ".name.123.partial" for place in (tmp_path, tmp_path / ".hydra", folder.samples, folder.checkpoints)
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    folder.rewind(0, concluded=True, vouched=None)
    assert not any(path.exists() for path in left)
