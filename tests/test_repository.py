"""What the repository itself promises: its versions agree, and no stranger's binary is in it."""

import os
import re
import runpy
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from gan_cli import __version__
from gan_cli.config.compose import CONF, compose

ROOT = CONF.parent
pytestmark = pytest.mark.skipif(not (ROOT / "Makefile").is_file(), reason="the sources are not here")


def test_the_citation_and_the_changelog_name_this_version() -> None:
    citation = OmegaConf.load(ROOT / "CITATION.cff")
    assert citation["version"] == __version__
    assert citation["license"] == "MIT"
    (author,) = citation["authors"]
    assert author["name"] in (ROOT / "LICENSE").read_text()
    released = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == __version__


def test_constraints_are_exact_names_and_versions() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == sorted(lines)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*", line) for line in lines)
    assert {"torch", "torchvision", "torch-fidelity", "hydra-core"} <= {line.split("==")[0] for line in lines}


def check_binaries(repository: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    make = ["make", "--no-print-directory", "--file", ROOT / "Makefile", "binaries"]
    return subprocess.run(make, cwd=repository, env=os.environ | environment, capture_output=True, text=True)


def test_the_check_refuses_a_binary_outside_docs_and_weights(tmp_path: Path) -> None:
    binary, text = b"PK\0\1", b"plain words\n"
    files = {"docs/a.png": binary, "gan_cli/metrics/weights/a.safetensors": binary, "a.txt": text, "a.whl": binary}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    refused = check_binaries(tmp_path)
    assert refused.returncode != 0
    assert [line.split()[-1] for line in refused.stdout.splitlines()] == ["a.whl"]
    subprocess.run(["git", "rm", "--quiet", "--force", "a.whl"], cwd=tmp_path, check=True)
    accepted = check_binaries(tmp_path)
    assert (accepted.returncode, accepted.stdout) == (0, ""), accepted.stderr


def test_the_check_fails_where_git_cannot_answer(tmp_path: Path) -> None:
    assert check_binaries(tmp_path, GIT_DIR="none").returncode != 0


def of_the_second_table() -> tuple[str, ...]:
    settings: tuple[str, ...] = runpy.run_path(str(ROOT / "benchmarks" / "methods.py"))["SETTINGS"]
    return settings


def test_the_second_table_of_the_benchmarks_has_the_rows_that_its_command_runs() -> None:
    shown = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split("`python benchmarks/methods.py`")[1]
    assert tuple(re.findall(r"^\| `(.*)` \|", shown.split("\n\n")[1], re.MULTILINE)) == of_the_second_table()


@pytest.mark.slow
def test_every_row_of_the_second_table_composes() -> None:
    for settings in of_the_second_table():
        compose("train", settings.split())
