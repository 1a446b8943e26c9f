"""A checkpoint's data is read where the user says, or where a run of this user had it."""

from typing import Any

import pytest

from gan_cli.config.read import config_of
from gan_cli.config.trust import placed
from gan_cli.errors import UserError
from gan_cli.runs.origin import is_ours, signature


def config(name: str, *more: str) -> dict[str, Any]:
    return config_of([f"dataset={name}", "latent_dim=8", *more])


def place(config: dict[str, Any], *, ours: bool = True, root: str | None = None, download: bool = False) -> Any:
    return placed(config, ours=ours, root=root, download=download)["dataset"]


def test_a_checkpoint_cannot_make_this_machine_download() -> None:
    theirs = config("cifar10", "dataset.root=/etc", "dataset.download=true")
    assert place(theirs, root="/after")["download"] is False
    assert place(theirs, root="/after", download=True)["download"] is True
    assert place(theirs)["root"] == "/etc"
    assert theirs["dataset"]["download"] is True, "what is stored does not change"


@pytest.mark.parametrize("name", ["cifar10", "image_folder"])
def test_data_that_moved_is_found_by_its_new_root(name: str) -> None:
    before = config(name, "dataset.root=/before")
    assert place(before, root="/after") == before["dataset"] | {"root": "/after"}


def test_a_run_from_elsewhere_reads_nothing_that_the_user_did_not_name() -> None:
    theirs = config("image_folder", "dataset.root=/home", "dataset.metrics.extractor.weights=/etc/passwd")
    with pytest.raises(UserError, match=r"not started by you here.*add dataset.root=<folder>"):
        place(theirs, ours=False)
    found = place(theirs, ours=False, root="/mine")
    assert (found["root"], found["metrics"]["extractor"]["weights"]) == ("/mine", None)
    assert place(theirs)["metrics"]["extractor"]["weights"] == "/etc/passwd"
    theirs["dataset"]["metrics"]["also"] = [theirs["dataset"]["metrics"]["extractor"]]
    assert place(theirs, ours=False, root="/mine")["metrics"]["also"][0]["weights"] is None
    for inside in ("..", "a/../../b", "/etc"):
        leading_out = config("image_folder", "dataset.root=/home", f"dataset.subfolder={inside}")
        with pytest.raises(UserError, match="leads out of dataset.root"):
            place(leading_out, ours=False, root="/mine")
    assert place(config("digits"), ours=False) == config("digits")["dataset"]


def test_data_without_a_root_refuses_one_in_one_line() -> None:
    with pytest.raises(UserError, match="its data set has no root: remove dataset.root"):
        place(config("digits"), root="/after")


def test_only_this_users_own_config_carries_the_signature(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    ours = config("image_folder", "dataset.root=/mine")
    signed = signature(ours)
    assert is_ours(ours, signed)
    changed = config("image_folder", "dataset.root=/home")
    assert not is_ours(changed, signed)
    assert not is_ours(ours, "")
    assert not is_ours(ours, "\u00e9" * 64)
    assert not is_ours(ours, signed[:-1] + ("0" if signed[-1] != "0" else "1"))
    monkeypatch.setenv("GAN_CLI_CACHE", str(tmp_path))  # another user
    assert not is_ours(ours, signed)
    assert (tmp_path / "origin.key").stat().st_mode & 0o077 == 0


def test_a_key_that_cannot_be_made_makes_every_run_a_strangers(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAN_CLI_CACHE", str(tmp_path / "file"))
    assert signature(config("digits")) == ""
    assert not is_ours(config("digits"), "")
