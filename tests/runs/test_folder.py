"""What a run's folder is made of, and that it can be read without what trains."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    RunFolder(tmp_path).rewind(0)
    assert RunFolder(tmp_path).activity() == ""


def test_scores_of_a_step_that_is_not_concluded_are_computed_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 3):
        folder.recorded({"step": step, "losses": {}})
        folder.recorded({"step": step, "metrics": {"fid": 1.0}})
    folder.rewind(2, concluded=False)
    assert [(record["step"], "metrics" in record) for record in folder.records()] == [(1, False), (1, True), (2, False)]
    folder.recorded({"step": 2, "metrics": {"fid": 2.0}})
    folder.rewind(2)
    assert [(record["step"], "metrics" in record) for record in folder.records()][2:] == [(2, False), (2, True)]
