"""The weights that a new run begins with: those of another run's checkpoint, of which nothing else is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_cli.config.nodes import Config

if TYPE_CHECKING:
    from gan_cli.runs.checkpoint import Checkpoint


def initial_of(options: Mapping[str, Any]) -> "Checkpoint | None":
    """The checkpoint that `init_from` names; raises CheckpointError if there is none, or if it is damaged."""
    if options["init_from"] is None:
        return None
    from gan_cli.runs import checkpoint  # here: it imports torch

    return checkpoint.find(Path(options["init_from"]), "latest", "init_from")


def initialized(config: Config, initial: "Checkpoint | None") -> Config:
    """The config with the identity of these weights, wherever they are: their SHA-256, and the step of their run."""
    if initial is None:
        return config
    return config | {"init_from": {"sha256": initial.state["sha256"], "step": initial.step}}
