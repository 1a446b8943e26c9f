"""gan-verify: an honest run is verified, and whatever is changed in its folder is found and named."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from gan_cli import cli
from gan_cli.files import sha256
from gan_cli.runs.checkpoint import META, STATE, complete
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.verdict import read_verdict

from ..conftest import Command, tiny_data

POINTS = ["model=mlp", *tiny_data("mlp"), "steps=6", "device=cpu", "log_every=1", "evaluate_every=2"]
POINTS += ["checkpoint_every=2"]
LAST, BEFORE = "step-00000006", "step-00000004"


def trained(folder: Path, *arguments: str) -> None:
    """What gan-train does, outside of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gan-train", *arguments, f"run_dir={folder}"])
        cli.train()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one config, with the seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        trained(folder / str(seed), *POINTS, f"seed={seed}")
    return folder


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs / "0", tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewrite_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def vouch(run: Path) -> None:
    """Lets the hashes in the checkpoints fit what is there, as somebody who knows of them would."""
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    for folder in complete(run / "checkpoints"):

        def change(meta: Any) -> None:
            known = b"".join(line for line in lines if json.loads(line)["step"] <= meta["step"])
            meta["records"] = {"sha256": hashlib.sha256(known).hexdigest(), "bytes": len(known)}
            state = folder / STATE  # noqa: B023
            meta["state"] = {"sha256": sha256(state), "bytes": state.stat().st_size}

        rewrite_json(folder / META, change)


def rewrite_records(run: Path, change: Callable[[Any], None]) -> None:
    """Changes each record, and the hashes of all."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        change(record)
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records if record))
    vouch(run)


def one_digit(run: Path) -> None:
    text = (run / "metrics.jsonl").read_text()
    place = text.index('"adversarial": 0.', text.index('"step": 5')) + len('"adversarial": 0.') + 5
    changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    (run / "metrics.jsonl").write_text(changed)


def raise_score(summary: Any) -> None:
    summary["metrics"]["last"]["high_quality_fraction"] += 0.25


def test_an_honest_run_is_verified_until_a_file_changes(command: Command, run: Path) -> None:
    before = contents(run)
    code, out, err = command("verify", str(run), "seed=1")
    assert code == 0, err
    assert "here: the same: compared bit by bit" in out
    assert "steps 4 to 6: 3 records and step-00000006: the same to the last bit" in out
    assert out.endswith("verified: 6 of 6 steps, scores of steps 4 and 6, to the last bit (seed=1)\n") or out.endswith(
        "verified: 6 of 6 steps, scores of step 6, to the last bit (seed=1)\n"
    )
    assert {key: value for key, value in contents(run).items() if key != "verified.json"} == before
    verdict = read_verdict(RunFolder(run))
    assert verdict is not None
    assert (verdict["proved"]["replayed"], verdict["proved"]["exact"]) == (6, True)

    signed = json.loads((run / "verified.json").read_text())
    rewrite_json(run / "verified.json", lambda known: known["proved"].update(replayed=5))
    assert read_verdict(RunFolder(run)) is None, "this user's gan-verify has not written it"
    (run / "verified.json").write_text(json.dumps(signed))
    assert read_verdict(RunFolder(run)) is not None
    rewrite_json(run / "summary.json", raise_score)
    assert read_verdict(RunFolder(run)) is None, "it was said of another summary"

    code, out, err = command("verify", str(run))
    assert (code, err.count("\n")) == (1, 1)
    stated = json.loads((run / "summary.json").read_text())["metrics"]["last"]["high_quality_fraction"]
    assert f"not verified: summary.json: metrics.last.high_quality_fraction is {stated}, and its record gives" in err
    assert not (run / "verified.json").exists(), "what this user has said before does not hold"


def test_a_digit_of_a_record_and_a_checkpoint_of_another_run_are_found(command: Command, run: Path, runs: Path) -> None:
    other = Path(shutil.copytree(run, run.with_name("other")))
    one_digit(run)
    shutil.rmtree(other / "checkpoints" / LAST)
    shutil.copytree(runs / "1" / "checkpoints" / LAST, other / "checkpoints" / LAST)
    for folder, problem in (
        (run, f"metrics.jsonl: one of the lines 7 to 9 was changed after {LAST} was written"),
        (other, f"{LAST} is of a run with another config than summary.json: seed: 0 -> 1"),
    ):
        before = contents(folder)
        code, _, err = command("verify", str(folder))
        assert (code, err) == (1, f"gan-verify: not verified: {problem}\n")
        assert contents(folder) == before


def with_hashes_one_digit(run: Path, runs: Path) -> None:
    one_digit(run)
    vouch(run)


def with_hashes_a_score(run: Path, runs: Path) -> None:
    def change(record: Any) -> None:
        if record["step"] == 6 and "metrics" in record:
            record["metrics"]["high_quality_fraction"] += 0.25

    rewrite_records(run, change)
    records = RunFolder(run).records()

    def told(summary: Any) -> None:
        evaluated = [record["metrics"] for record in records if "metrics" in record]
        summary["metrics"]["last"] = evaluated[-1]
        if summary["metrics"]["best_step"] == 6:
            summary["metrics"]["best"] = evaluated[-1]
        summary["metrics"]["trajectory"] = module_trajectory(records)

    rewrite_json(run / "summary.json", told)


def module_trajectory(records: list[Any]) -> Any:
    from gan_cli.runs.summary import trajectory

    return trajectory(records)


def without_a_record(run: Path, runs: Path) -> None:
    rewrite_records(run, lambda record: record.clear() if (record["step"], "losses" in record) == (5, True) else None)


def twice_a_record(run: Path, runs: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([*lines, lines[-1]]))
    vouch(run)


def another_state(run: Path, runs: Path) -> None:
    """That of another seed, under the name and the config of this one."""
    shutil.copy(runs / "1" / "checkpoints" / BEFORE / STATE, run / "checkpoints" / BEFORE / STATE)
    vouch(run)


def changed_moment(run: Path, runs: Path) -> None:
    """One bit of an optimizer's state."""
    path = run / "checkpoints" / LAST / STATE
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    name = next(key for key in sorted(tensors) if "generator_optimizer" in key and "exp_avg" in key)
    tensors[name].view(-1).view(dtype=__import__("torch").int32)[0] ^= 1
    save_file(tensors, path, metadata)
    vouch(run)


def cut_state(run: Path, runs: Path) -> None:
    path = run / "checkpoints" / LAST / STATE
    path.write_bytes(path.read_bytes()[:-7])


def another_best(run: Path, runs: Path) -> None:
    best = json.loads((run / "summary.json").read_text())["metrics"]["best_step"]
    (run / "checkpoints" / "best").write_text({4: LAST, 6: BEFORE}.get(best, LAST) + "\n")


def torn_line(run: Path, runs: Path) -> None:
    content = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(content[:-20])


def in_the_summary(**changes: Any) -> Callable[[Path, Path], None]:
    def change(run: Path, runs: Path) -> None:
        def nested(summary: Any) -> None:
            for name, value in changes.items():
                *path, last = name.split("__")
                node = summary
                for key in path:
                    node = node[key]
                node[last] = value

        rewrite_json(run / "summary.json", nested)

    return change


def shorter(run: Path, runs: Path) -> None:
    """Said to be completed, without its last checkpoint."""
    shutil.rmtree(run / "checkpoints" / LAST)


CHANGES: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "a digit of a record": (with_hashes_one_digit, "metrics.jsonl, step 5: losses."),
    "a score everywhere": (with_hashes_a_score, "metrics.jsonl, step 6: metrics.high_quality_fraction is"),
    "no record": (without_a_record, "metrics.jsonl has no losses of step 5, which the config makes due"),
    "a record twice": (twice_a_record, "metrics.jsonl has the metrics of step 6 twice, or out of order"),
    "another state": (another_state, f"checkpoints/{BEFORE}: "),
    "a bit of a moment": (changed_moment, f"checkpoints/{LAST}: generator_optimizer/0/exp_avg differs from the replay"),
    "a cut state": (cut_state, f"checkpoint run/checkpoints/{LAST} is damaged: {STATE} is not what was written"),
    "another best": (another_best, "checkpoints/best names "),
    "a torn line": (torn_line, "metrics.jsonl has "),
    "images": (in_the_summary(cost__images_seen=25), "summary.json: cost.images_seen is 25, and its record gives 24"),
    "real against real": (in_the_summary(metrics__floor__modes_covered=0.5), "metrics.floor.modes_covered is 0.5"),
    "protocol": (in_the_summary(protocol__num_fake=50_000), "protocol.num_fake is 50000, and its record gives 16"),
    "config": (in_the_summary(config__batch_size=8), "is of a run with another config than summary.json: batch_size"),
    "status": (in_the_summary(status="collapsed"), "summary.json says collapsed, and its records do not show it"),
    "an earlier checkpoint": (shorter, "summary.json says completed, and there are records up to step 6"),
    "another format": (in_the_summary(status="finished"), "summary.json cannot be read"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGES)
def test_what_is_changed_is_named_and_nothing_is_written(
    command: Command, runs: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, problem = CHANGES[what]
    shutil.copytree(runs / "0", "run")
    change(Path("run"), runs)
    before = contents(Path("run"))
    code, out, err = command("verify", "run", "full=true")
    assert (code, err.count("\n")) == (1, 1), err
    assert err.startswith("gan-verify: not verified: ")
    assert problem in err
    assert "verified:" not in out
    assert contents(Path("run")) == before
