"""OpenMP's threads sleep where they wait for long, unless the user says otherwise: known before torch is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan_cli import cli

ASKED = """
import os, sys

class Look:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Look())
from gan_cli import cli
cli.train()
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
        ({"GOMP_SPINCOUNT": "7"}, "None 7"),
        ({"KMP_BLOCKTIME": "7"}, "None None"),
    ],
)
def test_threads_wait_passively_unless_the_user_says_otherwise(given: dict[str, str], expected: str) -> None:
    """What torch would find, where it is about to be imported."""
    free = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", ASKED], env=free | given, capture_output=True, text=True)
    assert done.stdout.strip().startswith(expected), done.stderr


@pytest.mark.parametrize(
    ("running", "alone"), [([1, 1, 1, 1, 1], True), ([2, 1, 1, 3, 1], True), ([2, 2, 1, 1, 2], False), ([9] * 5, False)]
)
def test_threads_spin_longer_where_no_other_program_computes(
    running: list[int], alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system counts running threads, of which this one is one; another that runs for a moment does not matter."""
    looks = iter(running)
    monkeypatch.setattr(Path, "read_text", lambda _path: f"0.50 0.60 0.70 {next(looks)}/345 6789\n")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "")  # is restored afterwards
        monkeypatch.delenv(name)
    cli.choose_waiting()
    assert os.environ["GOMP_SPINCOUNT"] == ("10000" if alone else "1000")


def test_threads_sleep_soon_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_path: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", nothing)
    assert not cli.is_alone()


@pytest.mark.slow
def test_torchs_openmp_reads_it() -> None:
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "KMP_SETTINGS": "1"}
    command = [
        sys.executable,
        "-c",
        "from gan_cli.cli import train; train()",
        "steps=0",
    ]  # refused, after torch is there
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "GOMP_SPINCOUNT = '1000" in done.stderr or "KMP_BLOCKTIME=0" in done.stderr, done.stderr
