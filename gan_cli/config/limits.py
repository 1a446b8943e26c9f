"""Bounds for a config from a file: its size, its keys, every number in it, and the weights it asks for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from gan_cli.config.nodes import Config
from gan_cli.errors import UserError
from gan_cli.text import printable

MOST_KEYS, MOST_DEPTH, MOST_LETTERS = 10_000, 20, 4_096
MOST_NAMED = 5
MOST = 1e9  # for any number without a bound of its own
MOST_OF_KEY: dict[str, float] = {  # by the whole path, or by its last part
    "seed": 2**63,
    "evaluation_seed": 2**63,
    "num_evaluation_seeds": 1_000,
    "anchor_seed": 2**63,
    "batch_size": 100_000,
    "generator_batch_size": 100_000,
    "discriminator_steps": 10_000,
    "generator_steps": 10_000,
    "num_eval_images": 10_000_000,
    "latent_dim": 100_000,
    "width": 100_000,
    "hidden": 1_000_000,
    "num_pieces": 1_000,
    "num_outcomes": 100_000,
    "num_anchor_samples": 10_000_000,
    "image_size": 4_096,
    "crop_size": 65_536,
    "max_pixels": 1_000_000_000,
    "points_per_mode": 10_000_000,
    "num_modes": 100_000,
    "side": 1_000,
    "inception_score_splits": 10_000,
    "kid_subsets": 10_000,
    "kid_subset_size": 100_000,
    "cas_seeds": 1_000,
    "cas_steps": 1_000_000,
    "dataset.metrics.batch_size": 10_000,
    "num_power_iterations": 100,
    "regularizer.adversarial_training.steps": 10_000,
    "latent_sampler.steps": 100_000,
    "latent_sampler.prior.steps": 100_000,
    "chain_length": 1_000_000,
    "num_burn_in": 10_000_000,
    "max_rounds": 1_000_000,
}


def limit_problems(config: Config) -> list[str]:
    """Everything in the config that is beyond its bounds, at most five of them; nothing is built or imported."""
    found = list(zip(range(MOST_KEYS + 1), entries(config, "", 1), strict=False))
    if len(found) > MOST_KEYS:
        return [f"it has more than {MOST_KEYS:,} values"]
    problems = [
        problem for _, (path, key, value, depth) in found for problem in entry_problems(path, key, value, depth)
    ]
    return problems[:MOST_NAMED]


def entries(node: Any, path: str, depth: int) -> Iterator[tuple[str, str, Any, int]]:
    """Every key and value, as (path, key, value, depth); what is deeper than the bound is not looked into."""
    items = node.items() if isinstance(node, dict) else ((None, item) for item in node)
    for key, value in items:
        place = path if key is None else f"{path}.{key}".lstrip(".")
        yield place, "" if key is None else key, value, depth
        if isinstance(value, dict | list) and depth <= MOST_DEPTH:
            yield from entries(value, place, depth + 1)


def entry_problems(path: str, key: str, value: Any, depth: int) -> Iterator[str]:
    shown = printable(path, 100)
    if depth > MOST_DEPTH:
        yield f"{shown} is nested more than {MOST_DEPTH} deep"
    if key.startswith("_") and key != "_target_":
        yield f"{shown} is not a setting: a key that begins with _ is an instruction"
    if max(len(key), len(value) if isinstance(value, str) else 0) > MOST_LETTERS:
        yield f"{shown} is longer than {MOST_LETTERS:,} characters"
    if isinstance(value, int | float) and not isinstance(value, bool):
        most = MOST_OF_KEY.get(path, MOST_OF_KEY.get(path.rsplit(".", 1)[-1], MOST))
        if not abs(value) <= most:
            yield f"{shown}={printable(value, 30)} must be at most {most:,.0f}"


@contextmanager
def no_more_weights_than(most: int) -> Iterator[None]:
    """Inside, modules may take `most` weights and buffers together; raises UserError at the first tensor beyond that.

    A tensor is counted when a module gets it: torch has reserved its memory then, and the system hands it out only when
    values are written. So networks are built as in training, by any constructor, and never filled beyond the bound.
    """
    counted: dict[int, Tensor] = {}  # by identity: a parametrization registers a weight a second time
    total = 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal total
        if tensor is not None and id(tensor) not in counted:
            counted[id(tensor)] = tensor
            total += tensor.numel()
        if total > most:
            layer = type(module).__name__
            raise UserError(f"its config asks for {total:,} weights or more, which the file does not hold (at {layer})")

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
