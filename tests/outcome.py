"""Everything a run leaves behind, compared bit for bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from gan_cli.experiment import Experiment
from gan_cli.runs.checkpoint import complete
from gan_cli.runs.folder import RunFolder
from gan_cli.trainer import train

Outcome = tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any], dict[str, bytes]]


def outcome(folder: Path) -> Outcome:
    """The last state, the records, the summary and the pictures of a run, without wall time."""
    run = RunFolder(folder)
    records = run.records()
    for record in records:
        record.pop("seconds", None)
        record.pop("scoring_seconds", None)
        record.get("sampling", {}).pop("seconds", None)
    summary = json.loads((folder / "summary.json").read_text())
    for of_the_process in ("overrides", "started", "ended", "sessions"):
        summary.pop(of_the_process)
    for measured in ("seconds", "scoring_seconds", "images_per_second", "peak_memory_bytes"):
        summary["cost"].pop(measured)
    summary["cost"]["sampling"].pop("seconds", None)
    state = load_file(complete(run.checkpoints)[-1] / "state.safetensors")
    pictures = {path.name: path.read_bytes() for path in sorted(run.samples.iterdir())}
    return state, records, summary, pictures


def whole_and_continued(build: Callable[..., Experiment], *settings: str) -> tuple[Experiment, Experiment]:
    """At its end, an experiment trained in one go, and one built anew after two steps, from all state there was."""
    whole, half, again = (build(*settings) for _ in range(3))
    list(train(whole))
    stopped = train(half)
    next(stopped), next(stopped)
    for name, part in half.parts().items():
        again.parts()[name].load_state_dict(part.state_dict())
    list(train(again, 2))
    return whole, again


def assert_equal(first: Any, second: Any, path: str = "") -> None:
    """Bitwise, through dictionaries and lists of tensors."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_equal(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for index, items in enumerate(zip(first, second, strict=True)):
            assert_equal(*items, f"{path}/{index}")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    else:
        assert first == second, path
