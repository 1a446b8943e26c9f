"""What is stored of a value from the environment: the text that names it."""

from typing import Any

import pytest

from gan_cli.config.environment import interpolates_more
from gan_cli.config.read import config_of


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "/hidden/12")
    monkeypatch.setenv("NUMBER", "12")


def stored(*overrides: str) -> Any:
    return config_of(["dataset=image_folder", "dataset.root=/data", *overrides])


@pytest.mark.parametrize(
    ("overrides", "root"),
    [
        (["dataset.root=${oc.env:SECRET}"], "${oc.env:SECRET}"),
        (["dataset.root=${oc.env:SECRET}/faces"], "${oc.env:SECRET}/faces"),
        (["dataset.root=${oc.env:SECRET,/elsewhere}"], "${oc.env:SECRET,/elsewhere}"),
        (["dataset.root=${oc.env:ABSENT,/elsewhere}"], "${oc.env:ABSENT,/elsewhere}"),
        (["dataset.root=${dataset.subfolder}/a", "dataset.subfolder=${oc.env:SECRET}"], "${oc.env:SECRET}/a"),
        (["dataset.root=${dataset.subfolder}", "dataset.subfolder=plain"], "plain"),
        (["dataset.root=${dataset.resize}"], "lanczos"),
        (["dataset.root=plain"], "plain"),
    ],
)
def test_text_is_stored_as_typed_only_if_it_reads_the_environment(overrides: list[str], root: str) -> None:
    assert stored(*overrides)["dataset"]["root"] == root


def test_numbers_from_the_environment_are_stored_as_numbers() -> None:
    number = "'${oc.decode:${oc.env:NUMBER}}'"
    config = stored(f"steps={number}", f"dataset.image_size={number}")
    assert (config["steps"], config["dataset"]["image_size"]) == (12, 12)


def test_other_keys_keep_their_references_resolved() -> None:
    with_secret, without = stored("dataset.root=${oc.env:SECRET}"), stored()
    with_secret["dataset"]["root"] = without["dataset"]["root"]
    assert with_secret == without


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("plain", False),
        ("${oc.env:HOME}", False),
        ("a${oc.env:HOME,x}b${oc.env:Y}", False),
        ("${oc.decode:${oc.env:HOME}}", False),
        ("${steps}", True),
        ("${oc.env:${steps}}", True),
        ("${oc.env:A}${steps}", True),
        ("${now:%Y}", True),
        ("${steps_of:5e6}", True),
        ("${oc.create:${oc.env:A}}", True),
    ],
)
def test_what_else_is_interpolated(text: str, more: bool) -> None:
    assert interpolates_more(text) == more
