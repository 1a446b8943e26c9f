"""Numbers that no release may change unnoticed: seeds, the order of data, evaluation latents, and short loss traces.

`python -m tests.pinned` writes them again, after a change that is meant to change everybody's runs.
"""

import json
from pathlib import Path
from typing import Any

import torch

from gan_cli.config.build import build_experiment
from gan_cli.config.compose import CONF
from gan_cli.config.read import config_of
from gan_cli.engine import CPU, Engine
from gan_cli.evaluation import generate
from gan_cli.seeding import batch_rows, mix
from gan_cli.trainer import train

from .conftest import A_CLASSIFIER, A_GENERATOR_ALONE, TINY

FILE = Path(__file__).parent / "samples" / "pinned.json"
SMALL = {"classification": A_CLASSIFIER, "drifting": [*A_GENERATOR_ALONE, "objective=drifting"]}
TRACED = [*TINY, "steps=5"]


def objectives() -> list[str]:
    return sorted(file.stem for file in (CONF / "objective").glob("*.yaml"))


def seeds() -> dict[str, int]:
    keys: list[tuple[Any, ...]] = [("init", 0), ("init", 1), ("evaluation", 0, 0), ("evaluation", 0, 1), ("fit", 0)]
    keys += [("floor",), ("mixture",), ("step", 0, 0, 0), ("step", 1, 0, 7)]
    return {" ".join(map(str, key)): mix(*key) for key in keys}


def order() -> dict[str, list[int]]:
    """The rows of batches, also across the end of an epoch."""
    return {f"{seed} {number}": batch_rows(10, 4, seed, number).tolist() for seed in (0, 1) for number in range(4)}


def evaluation_latents() -> dict[str, list[float]]:
    experiment = build_experiment(config_of(TRACED), Engine())
    made = generate(experiment.gan, 300, 0, None, experiment.dataset.stored)
    return {"first": made.refined.codes[0, :4].tolist(), "300th": made.refined.codes[299, :4].tolist()}


def trace(objective: str) -> list[float]:
    """The whole loss of each player at each of five steps."""
    choice = SMALL.get(objective, [*TINY, f"objective={objective}"])
    experiment = build_experiment(config_of([*choice, "steps=5"]), Engine())
    return [sum(loss.item() for loss in terms.values()) for step in train(experiment) for terms in step.losses.values()]


def weights() -> dict[str, float]:
    """The sum of absolute initial weights, for each model."""
    found = {}
    for model in ("dcgan", "mlp"):
        width = TINY if model == "dcgan" else ["dataset=ring", "model=mlp"]
        gan = build_experiment(config_of([*width, "batch_size=4"]), Engine(CPU)).gan
        found[model] = sum(p.double().abs().sum().item() for p in gan.game.generator.parameters())
    return found


def measured() -> dict[str, Any]:
    torch.set_num_threads(1)
    return {
        "seeds": seeds(),
        "order": order(),
        "evaluation latents": evaluation_latents(),
        "initial weights": weights(),
        "losses": {objective: trace(objective) for objective in objectives()},
    }


if __name__ == "__main__":
    lines = [
        f'"{name}": {{\n' + ",\n".join(f'  "{key}": {json.dumps(value)}' for key, value in found.items()) + "\n}"
        for name, found in measured().items()
    ]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
