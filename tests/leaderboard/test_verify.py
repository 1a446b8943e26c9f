"""gan-verify: an honest run is verified, and whatever is changed in its folder is found and named."""

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gan_cli import cli
from gan_cli.commands import verify as module
from gan_cli.files import sha256
from gan_cli.leaderboard.report import write_report
from gan_cli.runs.checkpoint import META, STATE, complete
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.replay import Replay
from gan_cli.runs.summary import trajectory
from gan_cli.runs.verdict import read_verdict
from gan_cli.sweep.plan import read_run
from gan_cli.sweep.sweep_folder import Job, SweepFolder

from ..conftest import A_CLASSIFIER, TINY, Command, composed_config, tiny_data

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
    assert out.endswith("verified: 6 of 6 steps, scores of step 6, to the last bit (seed=1)\n")
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


def with_its_scores(run: Path) -> None:
    """Lets the summary's scores fit the records."""
    records = RunFolder(run).records()

    def told(summary: Any) -> None:
        evaluated = [record["metrics"] for record in records if "metrics" in record]
        summary["metrics"]["last"] = evaluated[-1]
        if summary["metrics"]["best_step"] == 6:
            summary["metrics"]["best"] = evaluated[-1]
        summary["metrics"]["trajectory"] = trajectory(records)

    rewrite_json(run / "summary.json", told)


def with_hashes_one_digit(run: Path, runs: Path) -> None:
    one_digit(run)
    vouch(run)


def with_hashes_a_score(run: Path, runs: Path) -> None:
    def change(record: Any) -> None:
        if record["step"] == 6 and "metrics" in record:
            record["metrics"]["high_quality_fraction"] += 0.25

    rewrite_records(run, change)
    with_its_scores(run)


def without_a_record(run: Path, runs: Path) -> None:
    rewrite_records(run, lambda record: record.clear() if (record["step"], "losses" in record) == (5, True) else None)


def twice_a_record(run: Path, runs: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([*lines, lines[-1]]))
    vouch(run)


def another_evaluation(run: Path, runs: Path) -> None:
    """At a step where none is due, with another score."""
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    records = [json.loads(line) for line in lines]
    place, found = next((n, one) for n, one in enumerate(records) if one["step"] == 4 and "metrics" in one)
    later = next(n for n, one in enumerate(records) if one["step"] == 5)
    assert later > place
    scores = found["metrics"] | {"high_quality_fraction": 0.3}
    lines.insert(later + 1, json.dumps(found | {"step": 5, "metrics": scores, "scoring_seconds": 0.0}) + "\n")
    (run / "metrics.jsonl").write_text("".join(lines))
    vouch(run)
    with_its_scores(run)


def another_state(run: Path, runs: Path) -> None:
    """That of another seed, under the name and the config of this one."""
    shutil.copy(runs / "1" / "checkpoints" / BEFORE / STATE, run / "checkpoints" / BEFORE / STATE)
    vouch(run)


def changed_moment(run: Path, runs: Path) -> None:
    """One bit of an optimizer's state."""
    path = run / "checkpoints" / LAST / STATE
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    name = next(key for key in sorted(tensors) if "generator_optimizer" in key and "exp_avg" in key)
    tensors[name].view(-1).view(torch.int32)[0] ^= 1
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
    "another evaluation": (another_evaluation, "metrics.jsonl, step 5: metrics.high_quality_fraction is 0.3"),
    "another state": (another_state, f"{BEFORE} gives"),
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:training continues without scores")
def test_runs_of_every_kind_are_verified(command: Command) -> None:
    """Resumed ones, with weights of another run, classifiers, schedules, lazy penalties, images."""
    lazy = ["regularizer=r1", "regularizer.r1.every=2"]
    falling = "generator_optimizer.lr={start: 0.1, end: 0.01, until: 5, shape: linear}"
    few = ["evaluate_every=2", "checkpoint_every=2", "device=cpu"]
    started = {
        "resumed": [*POINTS, "steps=3"],
        "begun": [*POINTS, "init_from=resumed"],
        "kept": [*POINTS, "init_from=resumed", "keep_checkpoints=9"],
        "classifier": [*A_CLASSIFIER, *few],
        "scheduled": [*POINTS, *lazy, falling],
        "images": [*TINY, "dataset=digits", "dataset.image_size=16", *few],
        "unscored": [
            *TINY,
            *few,
            "dataset=digits",
            "dataset.image_size=16",
            "metrics@dataset.metrics=inception",
            "dataset.metrics.extractor.otherwise=null",
        ],
    }
    for name, arguments in started.items():
        code, _, err = command("train", *arguments, f"run_dir={name}")
        assert code == 0, err
        if name == "resumed":
            assert command("train", "resume=resumed", "steps=6", "device=cpu")[0] == 0
    for name in started:
        code, out, err = command("verify", name, "full=true", *["init_from=resumed"] * (name == "begun"))
        assert code == 0, (name, err)
        steps = json.loads(Path(name, "summary.json").read_text())["step"]
        assert f"verified: {steps} of {steps} steps" in out
        assert out.splitlines()[-1].count("scores of step") == (name != "unscored")

    code, out, err = command("verify", "begun", "full=true")
    assert (code, err) == (2, "gan-verify: the run began with the weights of another run: add init_from=<its folder>\n")
    code, out, err = command("verify", "begun")
    assert code == 0, err
    assert "steps 0 to 4 cannot be replayed" in out
    assert "verified: 2 of 6 steps" in out
    code, out, err = command("verify", "begun", "init_from=kept")
    assert (code, err.count("\n")) == (2, 1)
    assert "init_from=kept does not hold the weights that the run began with" in err


@pytest.mark.slow
def test_what_is_there_of_a_run_that_did_not_complete_is_verified(command: Command, run: Path) -> None:
    """A killed one, with half a line behind its records; one that diverged, where it did."""
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints" / LAST)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "images_se')
    code, out, err = command("verify", str(run), "full=true")
    assert code == 0, err
    assert "unfinished: what is there is compared, up to step 6" in out
    assert "no summary.json" in out
    assert "steps 4 to 6: 3 records: the same to the last bit" in out

    deep = ["model.generator.hidden=[8,8,8]", "model.discriminator.hidden=[8,8,8]", "objective=lsgan"]
    huge = ["discriminator_optimizer.lr=1e7", "generator_optimizer.lr=1e7", "steps=60", "checkpoint_every=0"]
    code, _, err = command("train", *POINTS, *deep, *huge, "run_dir=lost")
    assert code == 1
    assert "diverged: the " in err
    stated = json.loads(Path("lost/summary.json").read_text())
    assert stated["status"] == "diverged"
    code, out, err = command("verify", "lost", "full=true")
    assert code == 0, err
    assert "it diverges where the run did" in out
    rewrite_json(Path("lost/summary.json"), lambda summary: summary.update(error="diverged: at step 1"))
    code, _, err = command("verify", "lost", "full=true")
    assert code == 1
    assert "summary.json says 'diverged: at step 1', and the replay from step" in err


@pytest.mark.slow
def test_a_run_that_changes_meanwhile_is_not_verified(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = module.prove

    def meanwhile(*arguments: Any) -> Any:
        proved = prove(*arguments)
        rewrite_json(run / "summary.json", raise_score)
        return proved

    monkeypatch.setattr(module, "prove", meanwhile)
    code, _, err = command("verify", str(run))
    assert (code, err.count("\n")) == (2, 1)
    assert "was changed while it was verified: repeat the command" in err
    assert not (run / "verified.json").exists()


@pytest.mark.slow
def test_on_another_machine_numbers_hold_within_rounding(
    command: Command, run: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rounding error may do is measured, and a digit that matters is still found."""
    monkeypatch.setattr(module, "cpu_name", lambda: "Another Processor")
    states = Replay.state

    def rounded(self: Replay) -> dict[str, Any]:
        return {key: value * (1 + 3e-7) if hasattr(value, "dtype") else value for key, value in states(self).items()}

    monkeypatch.setattr(Replay, "state", rounded)
    code, out, err = command("verify", str(run), "full=true")
    assert code == 0, err
    assert "here Another Processor: compared within rounding" in out
    assert "within rounding (" in out.splitlines()[-1]
    verdict = read_verdict(RunFolder(run))
    assert verdict is not None
    assert not verdict["proved"]["exact"]
    assert 0 < verdict["proved"]["tolerance"] < 0.05

    def change(record: Any) -> None:
        if record["step"] == 5 and "losses" in record:
            record["losses"]["discriminator"]["adversarial"] *= 1.1

    rewrite_records(run, change)
    code, _, err = command("verify", str(run), "full=true")
    assert code == 1
    assert "metrics.jsonl, step 5: losses.discriminator.adversarial is" in err
    assert err.endswith("here Another Processor\n"), "which may be why"


@pytest.mark.slow
def test_a_run_that_cannot_be_computed_here_is_refused_in_one_line(command: Command, photographs: Path) -> None:
    images = [
        *TINY,
        "dataset=image_folder",
        f"dataset.root={photographs}",
        "dataset.image_size=16",
        "num_eval_images=20",
    ]
    assert command("train", *images, "run_dir=photos", "device=cpu", "metrics@dataset.metrics=digits")[0] == 0
    assert command("verify", "photos")[0] == 0
    shutil.copytree("photos", "theirs")
    for folder in complete(Path("theirs/checkpoints")):
        rewrite_json(folder / META, lambda meta: meta.update(signature="0" * 64))
    code, out, err = command("verify", "theirs")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "it was not started by you here, so its paths are not believed: add dataset.root=<folder>" in err
    assert command("verify", "theirs", f"dataset.root={photographs}")[0] == 0
    photographs.rename(photographs.with_name("moved"))
    code, _, err = command("verify", "photos")
    assert (code, err.count("\n")) == (2, 1)
    assert "the data set cannot be loaded" in err
    with RunFolder(Path("photos")).locked():
        code, _, err = command("verify", "photos")
    assert (code, err) == (2, "gan-verify: photos is being written by another process: wait for it\n")


@pytest.fixture(scope="module")
def swept(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two seeds with its tables."""
    path = tmp_path_factory.mktemp("sweeps") / "sweep"
    sweep, jobs = SweepFolder(path), []
    path.mkdir()
    for seed in (0, 1):
        shutil.copytree(runs / str(seed), path / f"mine-seed-{seed}")
        point = [*POINTS, f"seed={seed}"]
        jobs.append(Job(f"mine-seed-{seed}", point, read_run(composed_config(*point))))
    sweep.write({"jobs": {}})
    sweep.add(jobs)
    write_report([path], path, None)
    return path


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(sweep: Path) -> None:
        text = (sweep / name).read_text()
        assert old in text
        (sweep / name).write_text(text.replace(old, new, 1))

    return change


def other_run(sweep: Path) -> None:
    shutil.rmtree(sweep / "mine-seed-1")
    shutil.copytree(sweep / "mine-seed-0", sweep / "mine-seed-1")


def doctored_run(sweep: Path) -> None:
    rewrite_json(sweep / "mine-seed-1" / "summary.json", raise_score)
    write_report([sweep], sweep, None)


def higher_cell(sweep: Path) -> None:
    lines = (sweep / "leaderboard.csv").read_text().splitlines()
    header, cells = lines[0].split(","), lines[1].split(",")
    place = header.index("high_quality_fraction_last_mean")
    cells[place] = str(float(cells[place]) + 1e-3)
    (sweep / "leaderboard.csv").write_text("\n".join([lines[0], ",".join(cells)]) + "\n")


OF_A_SWEEP: dict[str, tuple[Callable[[Path], None], str, int]] = {
    "a cell": (higher_cell, "table: differs: leaderboard.csv: high_quality_fraction_last_mean of", 2),
    "a line": (replaced("leaderboard.md", "Protocol:", "Protocols:"), "table: differs: leaderboard.md, line ", 2),
    "a run": (other_run, "2/2 mine-seed-1: differs: its run has another config than sweep.json says: seed: 1 -> 0", 1),
    "a score and its table": (doctored_run, "2/2 mine-seed-1: differs: summary.json: metrics.last.", 1),
}


@pytest.mark.slow
def test_a_sweep_is_verified_and_its_tables_say_so(
    command: Command, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Path(shutil.copytree(swept, tmp_path / "sweep"))
    code, out, err = command("verify", str(sweep))
    assert code == 0, err
    assert "2/2 mine-seed-1: verified: 6 of 6 steps" in out
    assert "table: leaderboard.csv, leaderboard.md, leaderboard.tex: what the runs' files give" in out
    assert "verified: 2 of 2 runs, and the table" in out
    write_report([sweep], sweep, None)
    assert command("verify", str(sweep))[0] == 0, "a table with verdicts is compared without them"
    texts = {name: (sweep / name).read_text() for name in ("leaderboard.csv", "leaderboard.md", "report.html")}
    day = read_verdict(RunFolder(sweep / "mine-seed-0"))["date"][:10]  # type: ignore[index]
    assert f"2 of 2 ({day}, " in texts["leaderboard.csv"]
    assert f"Verified by gan-verify: 2 of 2 runs, 12 of their 12 steps replayed ({day}, " in texts["leaderboard.md"]
    assert f"6 of 6 steps, {day}" in texts["report.html"]
    rewrite_json(sweep / "mine-seed-1" / "summary.json", lambda summary: summary.update(ended=summary["started"]))
    write_report([sweep], sweep, None)
    assert "Verified by gan-verify: 1 of 2 runs" in (sweep / "leaderboard.md").read_text(), "one verdict is stale"
    assert "not all of " in (sweep / "leaderboard.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("what", OF_A_SWEEP)
def test_what_is_changed_in_a_sweep_is_named(command: Command, swept: Path, tmp_path: Path, what: str) -> None:
    change, problem, verified = OF_A_SWEEP[what]
    sweep = Path(shutil.copytree(swept, tmp_path / "sweep"))
    change(sweep)
    code, out, err = command("verify", str(sweep))
    assert (code, err.count("\n")) == (1, 1), err
    assert problem in out
    assert err.startswith(f"gan-verify: {verified} of 2 runs verified (seed=")


@pytest.mark.slow
def test_damage_of_any_file_is_one_line(command: Command, run: Path) -> None:
    """Bytes of every file cut, flipped and doubled, and files that are missing, or folders."""
    draw = random.Random(7)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.suffix not in (".png", ".yaml"))
    for number in range(30):
        broken = Path(shutil.copytree(run, f"broken-{number}"))
        path = broken / draw.choice(files).relative_to(run)
        content = path.read_bytes()
        place = draw.randrange(max(1, len(content)))
        way = draw.choice(["cut", "flip", "double", "missing", "folder"])
        path.unlink()
        if way == "folder":
            path.mkdir()
        elif way != "missing":
            flipped = content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) if content else b"x"
            path.write_bytes(
                {"cut": content[:place], "flip": flipped + content[place + 1 :], "double": content[:place] * 2}[way]
            )
        before = contents(broken)
        code, _, err = command("verify", str(broken))
        told = (path.name, way, place, err)
        assert code in (0, 1, 2), told
        if code:
            assert err.splitlines()[-1].startswith("gan-verify: "), told
            assert "Traceback" not in err, told
            assert contents(broken) == before, told
