"""What a summary says of the processes that trained a run: times, machines and code."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from gan_cli.engine import Engine
from gan_cli.runs.formats import read_summary
from gan_cli.runs.sessions import Sessions, git, hardware

from ..conftest import Command, tiny_data

POINTS = ["model=mlp", *tiny_data("mlp"), "device=cpu", "run_dir=run", "log_every=1", "evaluate_every=1"]


def test_a_summary_says_when_where_and_with_what_code_the_run_was_trained(command: Command) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert command("train", *POINTS)[0] == 0
    summary = read_summary(Path("run"))
    started, ended = (datetime.fromisoformat(summary[key]) for key in ("started", "ended"))  # type: ignore[literal-required]
    assert before <= started <= ended <= datetime.now(UTC)
    assert summary["hardware"] == {"cpu": summary["hardware"]["cpu"], "gpu": None, "threads": torch.get_num_threads()}
    assert summary["hardware"]["cpu"]
    assert summary["git"] is None, "an empty folder is in no repository"
    (session,) = summary["sessions"]
    assert session == {"started": summary["started"], "step": 0, "steps": 3} | {
        key: summary[key]
        for key in ("hardware", "git")  # type: ignore[literal-required]
    }
    # grid3 in two dimensions; hidden layers of 8: (inputs + 1) * outputs for each layer
    latent_dim = summary["config"]["latent_sampler"]["latent_dim"]  # type: ignore[typeddict-item]
    assert summary["parameters"] == {"discriminator": 3 * 8 + 9 * 1, "generator": (latent_dim + 1) * 8 + 9 * 2}
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    spent = [record["scoring_seconds"] for record in records if "metrics" in record]
    assert len(spent) == 3
    assert summary["cost"]["scoring_seconds"] == pytest.approx(sum(spent))
    assert all(
        record["scoring_seconds"] >= record["sampling"]["seconds"] - 1e-3 for record in records if "metrics" in record
    )


def test_git_says_which_commit_and_whether_files_were_changed(tmp_path: Path) -> None:
    assert git(tmp_path) is None

    def run(*arguments: str) -> str:
        named = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *named, *arguments], check=True, capture_output=True, text=True
        ).stdout

    run("init")
    assert git(tmp_path) is None, "no commit yet"
    (tmp_path / "method.py").write_text("1")
    run("add", "method.py")
    run("commit", "-m", "first")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "new").touch()
    commit = run("rev-parse", "HEAD").strip()
    assert git(tmp_path / "outputs") == {"commit": commit, "dirty": False}
    (tmp_path / "method.py").write_text("2")
    assert git(tmp_path) == {"commit": commit, "dirty": True}


def test_without_git_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git(Path(__file__).parent) is None


def test_sessions_of_a_damaged_file_are_those_that_can_be_read(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions.jsonl")
    sessions.begin(step=0, steps=4, engine=Engine())
    first = sessions.path.read_text()
    odd = json.loads(first) | {"started": "\x1b[31m"}
    sessions.path.write_text(first + '{"started": 1}\n' + json.dumps(odd) + "\n" + first[:20])
    sessions.begin(step=2, steps=4, engine=Engine())
    found = sessions.all()
    assert [(session["step"], session["started"].isprintable()) for session in found] == [
        (0, True),
        (0, True),
        (2, True),
    ]
    assert found[0] == json.loads(first)


def test_no_name_of_the_machine_is_in_it() -> None:
    import platform

    said = json.dumps(hardware(Engine()))
    assert platform.node() not in said
    assert not re.search(r"/(home|root|tmp)", said)
