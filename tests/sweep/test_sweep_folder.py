"""A sweep's own file: never believed, never overwritten when it is damaged, made again from the runs if it is gone."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gan_cli.config.read import config_of
from gan_cli.errors import UserError
from gan_cli.runs import checkpoint
from gan_cli.sweep.sweep_folder import Job, SweepFolder, fingerprint, newest_of_kind

from ..leaderboard.folders import make_run

KIND: Any = {"settings": ["dataset=digits"], "swept": ["objective"]}


def swept(folder: Path, *objectives: str) -> list[Job]:
    """A sweep's folder with a completed run of each objective, in folders that are named as gan-sweep does."""
    jobs = []
    for objective in objectives:
        run = make_run(folder, f"objective={objective}")
        summary = json.loads((run / "summary.json").read_text())
        name = f"{objective}-seed-0-{fingerprint(summary['config'])}"
        run.rename(folder / name)
        (folder / name / "checkpoints").mkdir()
        jobs.append(Job(name, [f"objective={objective}", "seed=0"], summary["config"], {"fid": 3.0}, "a paper"))
    SweepFolder(folder).add(jobs, kind=KIND, baseline=None, picture=None)
    return jobs


def whole(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    jobs = swept(tmp_path, "hinge", "stdgan")
    folder = SweepFolder(tmp_path)
    folder.quote(jobs)
    content = folder.read()
    assert content["kind"] == KIND
    assert {name: entry["config"] for name, entry in content["jobs"].items()} == {job.name: job.config for job in jobs}
    assert [entry["published"] for entry in content["jobs"].values()] == [{"fid": 3.0}] * 2
    assert len(folder.file.read_text().splitlines()) == 9  # a line for each job
    assert json.loads(folder.file.read_text()) == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"",
        lambda whole: b"[]",
        lambda whole: b"{}",
        lambda whole: b"\xff" + whole,
        lambda whole: whole.replace(b'"seed": 0', b'"seed": "0"', 1),
        lambda whole: whole.replace(b'"steps"', b'"stpes"', 1),
        lambda whole: whole.replace(b'"swept"', b'"swpet"', 1),
        lambda whole: b'{"jobs": ' + b"[" * 10_000,
    ],
)
def test_a_damaged_file_is_refused_and_stays_as_it_is(damage: Any, tmp_path: Path) -> None:
    jobs = swept(tmp_path, "hinge")
    folder = SweepFolder(tmp_path)
    folder.file.write_bytes(damage(folder.file.read_bytes()))
    before = whole(tmp_path)
    for use in (
        folder.read,
        lambda: folder.named(jobs),
        lambda: folder.add(jobs, kind=KIND),
        lambda: folder.quote(jobs),
    ):
        with pytest.raises(UserError, match="sweep.json is damaged: .*; nothing was changed: move .* away, and"):
            use()
    assert whole(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["../x", "/etc", "a/b", "..", ".", "", "a\u0000b", "-rf", ".hidden", "a\nb", "a" * 300, "é"]
)
def test_a_job_is_a_folder_of_the_sweep_and_nothing_else(name: str, tmp_path: Path) -> None:
    swept(tmp_path, "hinge")
    folder = SweepFolder(tmp_path)
    content = json.loads(folder.file.read_text())
    content["jobs"][name] = next(iter(content["jobs"].values()))
    folder.file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is_folder_name"):
        folder.read()


def test_a_link_to_nothing_is_a_damaged_file(tmp_path: Path) -> None:
    jobs = swept(tmp_path, "hinge")
    folder = SweepFolder(tmp_path)
    folder.file.unlink()
    folder.file.symlink_to("absent")
    with pytest.raises(UserError, match="damaged"):
        folder.add(jobs)
    assert os.readlink(folder.file) == "absent"


def test_a_removed_file_is_made_again_from_the_runs(tmp_path: Path) -> None:
    """One run has a summary, one was killed and has only a checkpoint; a folder that is no job's is not taken."""
    hinge, stdgan = swept(tmp_path, "hinge", "stdgan")
    (tmp_path / stdgan.name / "summary.json").unlink()
    checkpoint.save(
        tmp_path / stdgan.name / "checkpoints",
        {},
        step=7,
        seconds=1.0,
        config=stdgan.config,
        image_shape=(1, 16, 16),
        class_counts=[3, 4],
        overrides=[*stdgan.point, "run_dir=elsewhere"],
        concluded=True,
        signature="",
        records={"sha256": "", "bytes": 0},
    )
    shutil.copytree(tmp_path / hinge.name, tmp_path / "copied-by-hand")
    folder = SweepFolder(tmp_path)
    folder.file.unlink()
    planned = [
        Job(f"called-otherwise-{job.name[-8:]}", job.point, job.config, job.published) for job in (hinge, stdgan)
    ]
    named = folder.named(planned)
    assert [job.name for job in named] == [hinge.name, stdgan.name]
    assert list(folder.states(named).values()) == ["completed", "unfinished"]
    folder.add(named[1:], kind=KIND)
    folder.quote(named)
    content = json.loads(folder.file.read_text())
    assert content["kind"] == KIND
    assert list(content["jobs"]) == [hinge.name, stdgan.name]
    assert [entry["overrides"] for entry in content["jobs"].values()] == [hinge.point, stdgan.point]
    assert [entry["published"] for entry in content["jobs"].values()] == [{"fid": 3.0}] * 2


def test_how_a_job_ended_is_written_without_the_others(tmp_path: Path) -> None:
    """With 1,000 jobs, sweep.json has 2.5 MB."""
    (job,) = swept(tmp_path, "hinge")
    folder = SweepFolder(tmp_path)
    (tmp_path / job.name / "summary.json").unlink()
    written = folder.file.stat().st_mtime_ns
    folder.ended(job.name, 1, "exit code 1: no luck")
    assert folder.file.stat().st_mtime_ns == written
    assert folder.state(job) == "failed"
    folder.add([job])
    assert folder.state(job) == "failed"
    folder.begin(job.name)
    assert folder.state(job) == "unfinished"


def test_text_that_is_not_unicode_is_refused_before_it_is_written(tmp_path: Path) -> None:
    (job,) = swept(tmp_path, "hinge")
    before = whole(tmp_path)
    with pytest.raises(UserError, match="not Unicode"):
        SweepFolder(tmp_path).add([Job(job.name, ["dataset.path=\udcff"], job.config)])
    assert whole(tmp_path) == before


def of_kind(sweeps: Path, name: str) -> SweepFolder:
    folder = sweeps / "2026-01-01" / name
    folder.mkdir(parents=True)
    swept(folder, "hinge")
    return SweepFolder(folder)


def test_a_sweep_whose_file_is_removed_is_known_by_its_folders_name(tmp_path: Path) -> None:
    folder = of_kind(tmp_path, f"10-00-00-objective-{fingerprint(KIND)}-abcdef")
    other = of_kind(tmp_path, f"11-00-00-objective-{fingerprint({})}-abcdef")
    for one in (folder, other):
        one.file.unlink()
    found = newest_of_kind(tmp_path, KIND)
    assert found is not None
    assert found.path == folder.path


def test_a_damaged_sweep_is_not_continued_and_told(tmp_path: Path) -> None:
    older, torn = of_kind(tmp_path, "10-00-00-objective-abcdef"), of_kind(tmp_path, "11-00-00-objective-abcdef")
    torn.file.write_bytes(torn.file.read_bytes()[:100])
    with pytest.warns(UserWarning, match="not continued: sweep.json is damaged"):
        found = newest_of_kind(tmp_path, KIND)
    assert found is not None
    assert found.path == older.path
    mine = of_kind(tmp_path, f"09-00-00-objective-{fingerprint(KIND)}-abcdef")
    mine.file.write_bytes(b"{")
    older.file.unlink()
    with pytest.warns(UserWarning, match="not continued"), pytest.raises(UserError, match="damaged"):
        newest_of_kind(tmp_path, KIND)


def test_configs_are_what_gan_train_reads() -> None:
    """The file's type asks of a config only what every config has."""
    from gan_cli.files import adapter
    from gan_cli.runs.formats import RunConfig

    for overrides in ([], ["objective=realness"], ["latent_sampler=gaussian", "dataset=ring"]):
        config = config_of(overrides)
        assert adapter(RunConfig).validate_json(json.dumps(config), strict=True) == config
