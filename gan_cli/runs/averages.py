"""Snapshots of a run's power-function averages, and averages of any width that are rebuilt from them."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_cli.ema import POWER_WIDTHS, Profile, combined, is_averaged, power_exponent
from gan_cli.errors import CheckpointError, UserError, one_line
from gan_cli.experiment import power_parts
from gan_cli.files import atomic
from gan_cli.runs.checkpoint import STATE, Checkpoint
from gan_cli.runs.state import described, read_state, write_state
from gan_cli.work import track

FAR = 0.1  # relative distance of a profile from the wanted one


def save(folder: Path, networks: Mapping[float, nn.Module], step: int) -> None:
    """Writes `folder`/<step>.safetensors; a run that continues from before it writes the same again."""
    if networks:
        folder.mkdir(exist_ok=True)
        with atomic(folder / f"{step:08d}.safetensors") as partial:
            write_state(partial, power_parts(networks))


def rebuild(generator: nn.Module, folder: Path, found: Checkpoint, width: float) -> float:
    """Gives the generator the average of this relative width up to the checkpoint's step; returns its distance.

    It is the nearest sum of the checkpoint's own averages and of the snapshots in `folder` before it; the distance is
    that of its profile from the wanted one, relative. Raises UserError for a run without them, and for a width that no
    profile has.
    """
    try:
        wanted = (power_exponent(width), found.step)
    except ValueError as error:
        raise UserError(f"ema={one_line(error)}") from error
    files = {int(file.stem): file for file in sorted(folder.glob("*.safetensors")) if file.stem.isdecimal()}
    files = {step: file for step, file in files.items() if 0 < step < found.step} | {found.step: found.folder / STATE}
    kept: list[Profile] = [(power_exponent(each), step) for step in files for each in POWER_WIDTHS]
    expected, trained = generator.state_dict(), {name for name, _ in generator.named_parameters()}
    coefficients, apart = combined(kept, wanted)
    sums = {name: torch.zeros_like(value, dtype=torch.float64, device="cpu") for name, value in expected.items()}
    weights = iter(coefficients)
    for file in track(files.values(), "averaging snapshot"):
        given = read_state(file)
        for part in power_parts(dict.fromkeys(POWER_WIDTHS, generator)):
            weight = next(weights)
            for name, value in expected.items():
                tensor = fitting(given, f"{part}/{name}", value, file)
                sums[name] = sums[name] + weight * tensor if is_averaged(name, value, trained) else tensor
    generator.load_state_dict({name: total.to(expected[name].dtype) for name, total in sums.items()})
    if apart > FAR:
        warnings.warn(
            f"ema={width:g} is rebuilt from few snapshots: its profile is off by {apart:.0%}; a smaller "
            "ema_snapshots_every has more",
            stacklevel=2,
        )
    return apart


def fitting(given: Mapping[str, Any], key: str, ours: Tensor, file: Path) -> Tensor:
    """The tensor of this name in the file; raises an error that says why there is none."""
    if key not in given:
        raise UserError(
            f"ema= needs averages that {file} does not have: train with ema_snapshots_every=<steps>, or leave it out"
        )
    if described(given[key]) != described(ours):
        raise CheckpointError(f"{file} does not fit this run: {key} is {described(given[key])}, not {described(ours)}")
    value: Tensor = given[key]
    return value
