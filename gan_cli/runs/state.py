"""The state of a run's parts in one file of tensors: nothing in it is executed, and it is copied only if it fits."""

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from gan_cli.errors import CheckpointError, one_line
from gan_cli.part import Stateful
from gan_cli.text import printable

NUMBERS = "numbers"  # the file's metadata: values that are no tensors, as JSON
MOST_NAMED = 5


def write_state(path: Path, parts: Mapping[str, Stateful]) -> None:
    """Writes every tensor and number; raises OSError, for example if the disk is full."""
    values = {name: value for part, held in parts.items() for name, value in flat(part, state_of(held))}
    tensors: dict[str, Tensor] = {}
    known: set[int] = set()
    for name, value in values.items():
        if isinstance(value, Tensor):
            tensor = value.detach().cpu().contiguous()
            tensors[name] = tensor.clone() if tensor.data_ptr() in known else tensor  # the format shares no memory
            known.add(tensor.data_ptr())
    numbers = {name: value for name, value in values.items() if name not in tensors}
    try:
        save_file(tensors, path, metadata={NUMBERS: json.dumps(numbers)})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else 0, os.strerror(int(number[1])) if number else str(error)) from error
    path.chmod(path.parent.stat().st_mode & 0o666)  # the library leaves it to its owner alone


def read_state(path: Path) -> dict[str, Any]:
    """Everything in the file, by name; raises CheckpointError for a file of another format."""
    try:
        with safe_open(path, "pt") as file:
            numbers = json.loads((file.metadata() or {}).get(NUMBERS, "{}"))
            return numbers | {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} does not hold a checkpoint's tensors: {one_line(error)}") from error


def restore_state(path: Path, parts: Mapping[str, Stateful]) -> None:
    """Copies the file's values into the parts; raises CheckpointError, before any is changed, if they do not fit.

    Names, shapes and types have to be those of the parts' own state, and an optimizer's settings are not in the file.
    """
    given = read_state(path)
    expected = {name: expected_state(part, name, given) for name, part in parts.items()}
    wanted = {key: value for name, state in expected.items() for key, value in flat(name, state)}
    problems = [f"{key} is missing" for key in wanted if key not in given]
    ours = tuple(f"{name}/" for name in parts)
    problems += [f"{key} is in the file only" for key in given if key.startswith(ours) and key not in wanted]
    problems += [
        f"{key} is {described(given[key])}, not {described(wanted[key])}"
        for key in wanted
        if key in given and described(given[key]) != described(wanted[key])
    ]
    if problems:
        named = "; ".join(problems[:MOST_NAMED]) + ("; ..." if len(problems) > MOST_NAMED else "")
        raise CheckpointError(f"{path.parent} does not fit this experiment: {printable(named)}")
    for name, part in parts.items():
        state = filled(name, expected[name], given)
        if isinstance(part, Optimizer):
            state = {"state": state, "param_groups": part.state_dict()["param_groups"]}
        part.load_state_dict(state)


def num_bytes(parts: Mapping[str, Stateful]) -> int:
    """Of all tensors: about the size of the file."""
    values = (value for name, part in parts.items() for _, value in flat(name, state_of(part)))
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def state_of(part: Stateful) -> Any:
    """What changes from step to step; an optimizer's settings come from the config."""
    return part.state_dict()["state"] if isinstance(part, Optimizer) else part.state_dict()


def expected_state(part: Stateful, name: str, given: Mapping[str, Any]) -> Any:
    """The part's own state, of which only the structure is used.

    An optimizer has none for a parameter that has never had a gradient: its structure is that of a copy after one step,
    for the parameters that the file has.
    """
    if not isinstance(part, Optimizer):
        return part.state_dict()
    stepped = copy.deepcopy(part)
    for group in stepped.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    stepped.step()
    present = {key.removeprefix(f"{name}/").partition("/")[0] for key in given if key.startswith(f"{name}/")}
    return {number: state for number, state in state_of(stepped).items() if str(number) in present}


def flat(name: str, state: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor and number, as `part/key/key`."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from flat(f"{name}/{key}", value)
    else:
        yield name, state


def described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    return type(value).__name__


def filled(name: str, expected: Any, given: Mapping[str, Any]) -> Any:
    """A state of the expected structure with the given values, in tensors of our own: device and layout are ours."""
    if isinstance(expected, dict):
        state = copy.copy(expected)  # with the versions that a module's state has
        state.update({key: filled(f"{name}/{key}", value, given) for key, value in expected.items()})
        return state
    return torch.empty_like(expected).copy_(given[name]) if isinstance(expected, Tensor) else given[name]
