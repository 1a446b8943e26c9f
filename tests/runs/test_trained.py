"""A checkpoint's data set, where the data is now."""

from dataclasses import replace
from typing import Any

import pytest

from gan_cli.config.build import build_dataset
from gan_cli.config.read import config_of
from gan_cli.errors import UserError
from gan_cli.runs.trained import with_root


def dataset(name: str, **changes: Any) -> Any:
    return replace(build_dataset(config_of([f"dataset={name}", "latent_dim=8"])), **changes)


def test_a_checkpoint_cannot_make_this_machine_download() -> None:
    theirs = dataset("cifar10", root="/etc", download=True)
    ours: Any = with_root(theirs, None)
    assert (ours.root, ours.download) == ("/etc", False)
    assert theirs.download is True


def test_data_that_moved_is_found_by_its_new_root() -> None:
    moved: Any = with_root(dataset("cifar10", root="/before", download=True), "/after")
    assert (moved.root, moved.download) == ("/after", False)
    assert moved == replace(dataset("cifar10"), root="/after", download=False)


def test_data_without_a_root_refuses_one_in_one_line() -> None:
    with pytest.raises(UserError, match="the checkpoint's data set has no root: remove dataset.root"):
        with_root(dataset("digits"), "/after")
    assert with_root(dataset("digits"), None) == dataset("digits")
