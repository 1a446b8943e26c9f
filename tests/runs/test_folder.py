"""What a run's folder is made of, and that it can be read without what trains."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["gan_cli.runs.folder", "gan_cli.runs.sink", "gan_cli.runs.signals"])
def test_a_folder_is_opened_without_hydra_or_torch(module: str) -> None:
    heavy = ("hydra", "omegaconf", "torch")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
