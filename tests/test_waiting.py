"""OpenMP's threads sleep where they wait, unless the user says otherwise: known before torch is imported."""

import os
import subprocess
import sys

import pytest

ASKED = """
import os, sys
from gan_cli import cli

def answer(composed, overrides, choices):
    print("torch" in sys.modules, os.environ.get("OMP_WAIT_POLICY"))

cli.COMMANDS["train"] = answer
cli.train()
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "False PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "False ACTIVE"),
        ({"GOMP_SPINCOUNT": "7"}, "False None"),
        ({"KMP_BLOCKTIME": "7"}, "False None"),
    ],
)
def test_threads_wait_passively_unless_the_user_says_otherwise(given: dict[str, str], expected: str) -> None:
    free = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", ASKED], env=free | given, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.slow
def test_torchs_openmp_reads_it() -> None:
    loaded = ASKED.replace("print(", "import torch; torch.ones(9).sum(); print(")
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "KMP_SETTINGS": "1"}
    done = subprocess.run([sys.executable, "-c", loaded], env=environment, capture_output=True, text=True)
    assert "GOMP_SPINCOUNT = '0'" in done.stderr or "KMP_BLOCKTIME=0" in done.stderr, done.stderr
