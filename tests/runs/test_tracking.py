"""A run's trackers are told everything once, and never stop it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from gan_cli.config.read import config_of
from gan_cli.errors import UserError
from gan_cli.runs import checkpoint
from gan_cli.runs.run import Run
from gan_cli.runs.tracking import NOTHING, read_mark, stored_trackers, write_mark

from ..conftest import Command, tiny_data
from ..third_party import node

POINTS = ["model=mlp", *tiny_data("mlp"), "device=cpu", "steps=6", "run_dir=run"]
EVERY = ["log_every=1", "sample_every=2", "evaluate_every=3", "checkpoint_every=2", "num_eval_images=20"]
RUN = [*POINTS, *EVERY]
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points and curves take a second each to draw."""

    def drawn(path: Path, *what: object, **settings: object) -> None:
        Image.new("L", (2, 2)).save(path)

    monkeypatch.setattr("gan_cli.runs.pictures.save_points", drawn)
    monkeypatch.setattr("gan_cli.runs.pictures.save_curves", drawn)


def lines(fails: str = "nothing", path: str = "lines.txt", name: str = "mine") -> str:
    return f"+tracker.{name}={node('Lines', path=path, fails=fails)}"


def told(path: str = "lines.txt") -> list[list[str]]:
    return [line.split() for line in Path(path).read_text().splitlines()]


def without_repeats(path: str = "lines.txt") -> list[list[str]]:
    """What a tracker was told of the run, after a check that it was told nothing of it twice."""
    said = [words for words in told(path) if words[0] in ("log", "image")]
    assert len(said) == len({tuple(words) for words in said})
    return said


@slow
def test_a_tracker_is_told_everything_in_order(command: Command) -> None:
    code, _, _ = command("train", *RUN, lines())
    assert code == 0
    start, *middle, finish = told()
    assert start[1].startswith("run-")
    assert start[2:] == ["run", "None", "first", "6"]
    assert finish == ["finish", "completed", "6"]
    order = ["log", "log", "image", "log", "log", "log", "image", "log", "log", "image", "log"]
    assert [words[0] for words in middle] == order
    assert [words[1] for words in middle] == ["1", "2", "2", "3", "3", "4", "4", "5", "6", "6", "6"]
    assert {tuple(words[2:]) for words in middle if words[0] == "image"} == {("samples", "PNG")}
    losses, scores = set(middle[0][2:]), set(middle[4][2:])
    assert {"losses/generator/adversarial", "losses/discriminator/r1", "scores/fake"} <= losses
    assert {"rates/generator", "gradient_norms/discriminator", "images_seen"} <= losses
    assert {"metrics/modes_covered", "sampling/generator_passes"} <= scores


def test_nothing_is_told_twice_and_nothing_is_missed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends without warning after step 5, and goes on from step 4."""
    command("train", *RUN, lines(path="whole.txt"), "run_dir=whole")

    conclude = Run.conclude

    def killed(self: Run, due: dict[str, bool]) -> None:
        if self.step == 5:
            raise SystemExit(9)
        conclude(self, due)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "conclude", killed)
        command("train", *RUN, "checkpoint_every=4", lines())
    assert [words[1] for words in told() if words[0] == "log"] == ["1", "2", "3", "3", "4", "5"]
    newest = checkpoint.newest(Path("run"))
    assert newest is not None
    assert newest.step == 4
    code, _, _ = command("train", "resume=run", "trust=[tests]", "device=cpu")
    assert code == 0
    assert [words[3:] for words in told() if words[0] == "start"] == [["None", "first", "6"], ["None", "again", "6"]]
    assert len({words[1] for words in told() if words[0] == "start"}) == 1
    assert without_repeats() == without_repeats("whole.txt")


@slow
@pytest.mark.filterwarnings("default")
def test_a_tracker_that_comes_later_is_told_what_it_has_missed(command: Command) -> None:
    command("train", *RUN, lines("log"), "steps=6", "checkpoint_every=2")
    assert [words[0] for words in told()] == ["start"]
    (Path("run") / "summary.json").unlink()  # as if the run had been killed at its end
    code, _, _ = command("train", "resume=run", "device=cpu", lines(path="later.txt", name="other"))
    assert code == 0
    assert [words[0] for words in without_repeats("later.txt")].count("log") == 8
    assert [words[1] for words in without_repeats("later.txt")] == [
        "1",
        "2",
        "2",
        "3",
        "3",
        "4",
        "4",
        "5",
        "6",
        "6",
        "6",
    ]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("fails", ["log", *(pytest.param(kind, marks=slow) for kind in ("start", "image", "finish"))])
def test_a_tracker_that_fails_warns_once_and_the_others_go_on(command: Command, fails: str) -> None:
    code, _, err = command("train", *RUN, lines(fails), lines(path="other.txt", name="other"))
    assert code == 0
    assert err.count("warning: tracker.mine is left out from now on: the server is gone") == 1
    assert err.count("left out") == 1
    assert json.loads(Path("run/summary.json").read_text())["status"] == "completed"
    assert len(without_repeats("other.txt")) == 11


def test_a_package_that_is_not_installed_is_refused_before_anything_is_written(command: Command) -> None:
    Path("surely_absent").mkdir()  # as W&B makes a folder wandb
    code, _, err = command("train", *RUN, f"+tracker.mine={node('Absent', path='lines.txt', fails='nothing')}")
    assert code == 2
    assert err == "gan-train: tracker.mine needs the package surely_absent: pip install surely_absent\n"
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+tracker.mine=5", "tracker must hold one named tracker each: tracker=none or tracker=[tensorboard,wandb]"),
        (f"+tracker.mine={node('Lines', path='a')}", "tracker.mine.fails is missing"),
        (f"+tracker.mine={node('Lines', path=5, fails='x')}", "tracker.mine.path=5 must be text"),
        (f"+tracker.mine={node('gan_cli.objectives.Hinge')}", "is not a Tracker"),
    ],
)
def test_a_wrong_tracker_is_refused_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        config_of([override, "steps=0"])
    assert message in str(refusal.value)
    assert "steps=0 must be at least 1" in str(refusal.value)  # with everything else that is wrong
    assert "\n" not in str(refusal.value)


@slow
@pytest.mark.filterwarnings("default")
def test_a_resumed_run_has_its_trackers_again_unless_told_otherwise(command: Command) -> None:
    command("train", *RUN, lines("finish"))
    chosen = stored_trackers(Path("run"))
    assert chosen is not None
    assert list(chosen["trackers"]) == ["mine"]
    code, _, err = command("train", "resume=run", "device=cpu")
    assert code == 2
    assert "if tests is a package that you know, trust=tests allows it; or do without: tracker=none" in err
    assert command("train", "resume=run", "device=cpu", "tracker=none")[0] == 0


def test_a_strangers_trackers_are_never_started(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what a folder says of trackers, nor how far it says they are, is believed."""
    command("train", *RUN, lines())
    (Path("run") / "summary.json").unlink()
    before = told()
    monkeypatch.setenv("GAN_CLI_CACHE", str(Path("another").absolute()))  # another user, with another key
    assert stored_trackers(Path("run")) is None
    assert command("train", "resume=run", "trust=[tests]", "device=cpu")[0] == 0
    assert told() == before
    assert not Path("run/.trackers").exists()


@slow
def test_a_choice_that_somebody_has_changed_is_not_believed(command: Command) -> None:
    command("train", *RUN, lines())
    file = Path("run/.trackers/chosen.json")
    for changed in ({"id": "another"}, {"trackers": {"mine": {"_target_": "os.system"}}}, {"signature": ""}):
        content = json.loads(file.read_text())
        assert stored_trackers(Path("run")) == content
        file.write_text(json.dumps(content | changed))
        assert stored_trackers(Path("run")) is None
        file.write_text(json.dumps(content))
    file.write_text("[")
    assert stored_trackers(Path("run")) is None


@slow
def test_trackers_belong_to_a_process_and_not_to_a_runs_config(command: Command) -> None:
    """A checkpoint names none, so nothing that reads one can start any; and runs that differ in them are the same."""
    command("train", *RUN, lines())
    found = checkpoint.newest(Path("run"))
    assert found is not None
    assert "tracker" not in found.config
    code, out, _ = command("train", *RUN)
    assert code == 0
    assert "completed at step 6" in out
    meta = found.folder / "meta.json"
    content = json.loads(meta.read_text())
    content["config"]["tracker"] = {"mine": {"_target_": "tests.third_party.Lines", "path": "bad.txt", "fails": "x"}}
    content["signature"] = ""
    meta.write_text(json.dumps(content))
    for name in ("eval", "sample"):
        code, _, err = command(name, f"checkpoint={found.folder}", "trust=[tests]", "device=cpu")
        assert code == 2
        assert err.count("\n") == 1
        assert not Path("bad.txt").exists()


@slow
def test_a_sweep_is_the_group_of_its_runs(command: Command) -> None:
    Path("sweeps/mine").mkdir(parents=True)
    Path("sweeps/mine/sweep.json").write_text("{}")
    command("train", *RUN, lines(), "run_dir=sweeps/mine/one")
    assert told()[0][2:4] == ["one", "mine"]


@pytest.mark.parametrize("content", [b"", b"\n", b"12", b"1 2 3", b"far 1", b"\xff\xfe"])
def test_a_mark_that_is_none_means_nothing_has_been_told(tmp_path: Path, content: bytes) -> None:
    mark = tmp_path / "one.mark"
    assert read_mark(mark) == NOTHING
    mark.write_bytes(content)
    assert read_mark(mark) == NOTHING
    for position in ((7, 2), (1200, 0)):
        write_mark(mark, position)
        assert read_mark(mark) == position
