"""The command line before Hydra parses it: where flags may be, what a word alone is, and what slips are answered."""

import sys
from pathlib import Path

import pytest

from gan_cli.config.arguments import PATHS, read_arguments
from gan_cli.config.compose import CONF
from gan_cli.config.overrides import quoted
from gan_cli.errors import UserError

from ..pairwise import every_third_quick


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gan-train"])


def words(command: str, *given: str) -> list[str]:
    return read_arguments(command, given).words


def test_flags_may_be_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["steps=20", "objective=hinge"]
    assert words("train", "steps=20", "--cfg", "job", "objective=hinge") == ["--cfg=job", *overrides]
    assert words("train", "steps=20", "objective=hinge", "-c=job", "--resolve") == [
        "--cfg=job",
        "--resolve",
        *overrides,
    ]
    assert words("train", "--config-dir", "conf", "steps=20", "--", "objective=hinge") == [
        "--config-dir=conf",
        *overrides,
    ]
    assert words("train", "--info", "steps=20") == ["--info=all", "steps=20"]
    assert words("train", "-i", "plugins") == ["--info=plugins"]
    assert words("train", "-sc", "query=bash") == ["--shell-completion", "query=bash"]
    monkeypatch.setenv("COMP_LINE", "gan-train steps=3 --config-dir mine objective=")
    assert words("train", "-sc", "query=bash") == ["--config-dir=mine", "--shell-completion", "query=bash"]


def test_a_word_alone_is_what_the_command_is_about() -> None:
    assert words("eval", "outputs/x", "which=best") == ["which=best", "checkpoint='outputs/x'"]
    assert words("sample", "num_images=4", "outputs/x") == ["num_images=4", "checkpoint='outputs/x'"]
    assert words("report", "a", "baseline=hinge", "b, c") == ["baseline=hinge", "folders=['a','b, c']"]


@pytest.mark.parametrize("name", ["a=b", "a, b", "seed=0,1", "it's", "[x]", "123"])
def test_the_name_of_a_folder_may_be_anything(name: str) -> None:
    Path(name).mkdir()
    for command in ("eval", "sample"):
        assert words(command, name) == words(command, f"checkpoint={name}") == [f"checkpoint={quoted(name)}"]
    assert words("report", name) == [f"folders=[{quoted(name)}]"]
    assert words("train", f"resume={name}", f"+dataset.root={name}") == [
        f"resume={quoted(name)}",
        f"+dataset.root={quoted(name)}",
    ]
    assert words("train", "debug=fast", f"num_outcomes={name}"[:13]) == ["debug=fast", "num_outcomes="]  # no path


def test_a_home_is_found_and_a_new_name_is_left_to_hydra() -> None:
    assert words("train", "run_dir=~/runs/x") == [f"run_dir='{Path.home()}/runs/x'"]
    assert words("train", "run_dir=new", "outputs=null") == ["run_dir=new", "outputs=null"]


def test_every_path_is_a_setting_of_some_command() -> None:
    texts = [file.read_text() for file in CONF.rglob("*.yaml")]
    assert all(any(f"{key}: " in text for text in texts) for key in PATHS)


ANSWERS = [
    ("train", "--steps 20", "write steps=20 in place of --steps 20"),
    ("train", "--steps=20", "write steps=20 in place"),
    ("train", "-steps 20", "write steps=20 in place"),
    ("train", "--batch-size 32 debug=fast --seed 3", "write batch_size=32 seed=3 in place"),
    ("train", "--objective realness", "write objective=realness in place"),
    ("train", "--experiment toy_grid", "write experiment=toy_grid in place"),
    ("train", "--lr 1e-4", "write discriminator_optimizer.lr=1e-4 generator_optimizer.lr=1e-4"),
    ("sweep", "--dry_run", "write dry_run=true"),
    ("sweep", "--study", "write study=<choice>"),
    ("train", "--hlep", "there is no flag --hlep: did you mean --help?"),
    ("train", "--epochs 3", "no such setting: see gan-train --help"),
    ("train", "--config-name x", "--config-dir <folder>"),
    ("train", "--experimental-rerun x", "gan-train resume=<run>"),
    ("train", "--cfg", "--cfg job|hydra|all"),
    ("train", "--info everything", "--info all|config|defaults|"),
    ("train", "--help=train", "write --help"),
    ("train", "--package model", "--package goes with --cfg"),
    ("train", "--cfg job --run", "--cfg and --run cannot be combined"),
    ("sweep", "--run", "gan-train trains one run"),
    ("train", "seed=0,1", ": gan-sweep seed=0,1"),
    ("train", "objective=hinge -m seed=0,1", ": gan-sweep objective=hinge seed=0,1"),
    ("train", "-m objective=hinge", ": gan-sweep objective=hinge"),
    ("train", "regularizer=r1,vat", "as one list: regularizer=[r1,vat]"),
    ("train", "model=mlp model.generator.hidden=8,9", "as one list: model.generator.hidden=[8,9]"),
    ("sample", "seed=range(3)", "gan-sample takes one"),
    ("eval", "--multirun", "gan-eval takes one"),
    ("sweep", "--cfg job seed=0,1", "--cfg shows one run: remove seed=0,1"),
    ("train", "hydra.run.dir=x", "run_dir=<folder> or outputs=<folder>"),
    ("train", "hydra.job.chdir=true", "run_dir=<folder> or outputs=<folder>"),
    ("train", "+hydra.output_subdir=x", "run_dir=<folder> or outputs=<folder>"),
    ("sweep", "hydra.sweep.dir=x", "sweep_dir=<folder>"),
    ("eval", "hydra.run.dir=x", "out=<folder>"),
    ("train", "hydra.mode=MULTIRUN", "gan-sweep many"),
    ("train", "runs", "gan-train resume=runs continues it"),
    ("sweep", "runs", "gan-sweep sweep_dir=runs continues it"),
    ("train", "steps 20", "write steps=20"),
    ("train", "objective realness", "write objective=realness"),
    ("train", "realness", "write objective=realness"),
    ("eval", "runs which best", "write which=best"),
    ("eval", "runs other", "one checkpoint at a time, not runs other"),
    ("train", "nonsense", "cannot read 'nonsense': write key=value"),
]


@pytest.mark.parametrize(("command", "given", "answer"), every_third_quick(ANSWERS))
def test_a_slip_is_answered_with_what_to_write(
    command: str, given: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs").mkdir()
    monkeypatch.setattr(sys, "argv", [f"gan-{command}", *given.split()])
    with pytest.raises(UserError) as refusal:
        read_arguments(command, given.split())
    assert answer in str(refusal.value)
    assert "\n" not in str(refusal.value)
