"""--help: everything it shows can be typed, and nothing it shows is more than a screen wide."""

import re
import sys
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from gan_cli.config.compose import CONF, compose
from gan_cli.config.help import help_text
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.sweep.options import NOT_OF_A_SWEEP

from ..pairwise import every_third_quick

COMMANDS = ("train", "eval", "sample", "export", "sweep", "report", "verify")
PARTS = [
    ["objective=realness", "regularizer=[r1,vat]", "dataset=image_folder", "latent_sampler=advlat_z"],
    ["experiment=toy_grid", "objective=fgan", "regularizer=none", "debug=fast"],
    ["model=cnn", "dataset=mnist"],
]


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gan-train"])


def shown(command: str, *overrides: str) -> str:
    return help_text(command, overrides, NOT_OF_A_SWEEP if command == "sweep" else ())


def settings(text: str) -> list[str]:
    return re.findall(r"^  ([a-z]\S*=.*?)(?:  .*)?$", text.split("Settings, key=value:")[1], re.MULTILINE)


def choices(text: str) -> dict[str, list[str]]:
    """The choices of each group; a comment follows them, after a semicolon."""
    block = text.partition("Choices, group=choice:\n")[2].partition("\n\n")[0]
    rows = re.split(r"\n  (?=\S)", "\n" + block)[1:]
    pairs = [row.split(maxsplit=1) for row in rows]
    return {group: " ".join(names.split(";")[0].split()).replace(" (now)", "").split(", ") for group, names in pairs}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("parts", every_third_quick([[], *PARTS], of_one_value=True))
def test_every_setting_can_be_typed_and_is_what_it_says(command: str, parts: list[str]) -> None:
    if command in ("eval", "sample", "export", "report", "verify"):
        parts = ["latent_sampler=drs"] * bool(parts and command in ("eval", "sample"))
    text = shown(command, *parts)
    found = settings(text)
    assert len(found) >= 3
    typed = compose(command, [*parts, *found])
    assert OmegaConf.to_yaml(typed) == OmegaConf.to_yaml(compose(command, parts))
    assert not {key for key in NOT_OF_A_SWEEP if command == "sweep" and f"\n  {key}=" in text}
    assert not [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()]


def test_every_setting_is_listed_under_its_choice_with_its_comment() -> None:
    text = shown("train", "objective=realness")
    assert "Settings, key=value:\n  steps=4000                      rounds of both players; the budget" in text
    assert "num_outcomes=51                 width of the discriminator's output\n" in text
    assert "regularizer=r1:\n  regularizer.r1.weight=10.0\n" in text
    assert re.search(r"objective=realness:\n  objective.generator_objective=2\s+1, 2, 3: equations", text)
    assert "objective.num_outcomes" not in text  # it follows num_outcomes
    assert "._target_=" not in text
    composed = compose("train", ["objective=realness"])
    values = set(settings(text))
    assert {f"{key}={composed[key]}" for key in ("steps", "batch_size", "seed", "num_outcomes")} <= values


def test_groups_are_those_that_the_command_takes() -> None:
    of_a_run = {"dataset", "model", "regularizer", "objective", "latent_sampler", "augmentation", "experiment", "debug"}
    train = choices(shown("train"))
    assert of_a_run | {"metrics@dataset.metrics"} <= set(train)
    assert not {"study", "metrics", "optimizer"} & set(train)
    assert not [group for group in train if group.startswith("hydra")]
    assert set(choices(shown("sweep"))) == {*train, "study"}
    assert choices(shown("report")) == {}
    assert set(choices(shown("eval"))) == {"dataset", "metrics", "latent_sampler", "attack"}
    with_data = choices(shown("eval", "dataset=cifar10", "latent_sampler=advlat_z"))
    assert set(with_data) == {"dataset", "metrics", "latent_sampler", "attack", "metrics@dataset.metrics"}
    assert with_data["metrics@dataset.metrics"] == train["metrics@dataset.metrics"]
    assert set(choices(shown("sample", "latent_sampler=advlat_z"))) == {"latent_sampler"}
    assert "(now)" in shown("train")


@pytest.mark.parametrize("command", ["eval", "sample"])
def test_samplers_that_only_change_training_are_not_offered(command: str) -> None:
    names = choices(shown(command))["latent_sampler"]
    files = {path.stem: path for path in (CONF / "latent_sampler").glob("*.yaml")}
    classes: dict[str, type] = {name: get_class(OmegaConf.load(file)._target_) for name, file in files.items()}
    training_only = {
        name
        for name, sampler in classes.items()
        if issubclass(sampler, Refinement) and sampler.for_evaluation is Refinement.for_evaluation
    }
    assert training_only == {"advlat_qua", "advlat_div", "label_pairs", "logan"}
    assert set(names) == set(files) - training_only


def test_one_choice_of_each_group_composes() -> None:
    for group, names in choices(shown("train")).items():
        compose("train", [f"{group}={names[-1]}"])


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_choice_composes(command: str) -> None:
    for group, names in choices(shown(command)).items():
        for name in names:
            compose(command, [f"{group}={name}"])


def test_choices_of_the_users_own_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objective").mkdir()
    own = "_target_: mine.Mine\nlabel: 'a, b' # what it is called\nstrength: {start: 0, end: 1}\n"
    (tmp_path / "objective" / "mine.yaml").write_text(own)
    monkeypatch.setattr(sys, "argv", ["gan-train", f"--config-dir={tmp_path}"])
    text = shown("train", "objective=mine")
    assert "mine (now)" in " ".join(text.split())  # it may be wrapped
    assert re.search(r"objective=mine:\n  objective.label='a, b' +what it is called\n", text)
    assert "mine" in choices(shown("train"))["objective"]
