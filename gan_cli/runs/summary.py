"""The results of a run: summary.json and the table at the end."""

import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_cli import __version__
from gan_cli.runs.sink import Record
from gan_cli.text import printable

if TYPE_CHECKING:  # they import torch
    from gan_cli.data import TrainingSet
    from gan_cli.datasets.dataset import Dataset
    from gan_cli.engine import Precision
    from gan_cli.evaluation import SamplingCost
    from gan_cli.metrics.metrics import Protocol, Scorer

Scores = Mapping[str, float]
NO_COST = {"seconds": 0.0, "scoring_seconds": 0.0, "images_seen": 0, "images_per_second": 0.0, "peak_memory_bytes": 0}
MOST_OF_LINE = 4000  # characters
SCORED = "moving average, ramped up"  # the weights that are scored
REAL = "real against real"  # the title of the key `floor`


def best_record(records: list[Record], leading: str, lower_is_better: bool) -> Record | None:
    """The evaluation with the best leading metric, unless the training was lost; among equal ones the latest."""
    whole = (record for record in records if "lost" not in record)
    evaluated = [record for record in whole if math.isfinite(record.get("metrics", {}).get(leading, math.nan))]
    sign = -1 if lower_is_better else 1
    return max(evaluated, key=lambda record: (sign * record["metrics"][leading], record["step"]), default=None)


def trajectory(records: list[Record]) -> dict[str, dict[str, float]]:
    """Minimum, maximum, mean and standard deviation (with n - 1) of each metric over a run's evaluations.

    One evaluation has no deviation.
    """
    evaluated = [record["metrics"] for record in records if "metrics" in record]
    return {
        key: {
            "min": min(values),
            "max": max(values),
            "mean": fmean(values),
            **({"std": stdev(values)} if len(values) > 1 else {}),
        }
        for key in dict.fromkeys(key for metrics in evaluated for key in metrics)
        for values in [[metrics[key] for metrics in evaluated if key in metrics]]
    }


def protocol(
    dataset: "Dataset",
    training_set: "TrainingSet",
    scorer: "Scorer | None",
    num_fake: int | None,
    seeds: Sequence[int],
    precision: "Precision" = "float32",
    weights: str = SCORED,
) -> "Protocol":
    """How a score was measured; scores compare only if all of it is the same.

    Images from elsewhere have no `seeds`; where none are scored, `num_fake` is None. `precision` is that of the
    training: a lower one is named.
    """
    images: Protocol = {} if training_set.digest is None else {"images_sha256": training_set.digest}
    measured = scorer.protocol if scorer is not None else {}
    if precision != "float32":
        measured = measured | {"training_precision": precision}
    if num_fake is None:
        return dataset.protocol | images | measured
    drawn: Protocol = {"weights": weights, "evaluation_seed": seeds[0]} if seeds else {}
    if len(seeds) > 1:
        drawn = drawn | {"num_evaluation_seeds": len(seeds)}
    return dataset.protocol | images | measured | {"num_fake": num_fake} | drawn


def versions() -> dict[str, str]:
    packages = ("torch", "torchvision", "torch-fidelity", "numpy", "hydra-core", "omegaconf")
    return {"gan_cli": __version__, "python": platform.python_version()} | {name: version(name) for name in packages}


def scores_table(title: str, columns: Mapping[str, Scores]) -> Table:
    """Metrics down, columns (last, best, real against real, ...) across."""
    table = Table(title=Text(printable(title), "bold"), title_justify="left")
    table.add_column("metric", no_wrap=True)
    for column in columns:
        table.add_column(Text(printable(column)), justify="right")
    keys = dict.fromkeys(key for scores in columns.values() for key in scores if not key.endswith("_std"))
    for key in keys:
        table.add_row(Text(printable(key.removesuffix("_mean"))), *(shown(scores, key) for scores in columns.values()))
    return table


def with_floor(columns: Mapping[str, Scores], floor: Scores) -> dict[str, Scores]:
    """The columns, and one of real images against real ones for metrics that compare images."""
    return {**columns, **({REAL: floor} if floor else {})}


def shown(scores: Scores, key: str) -> str:
    """A score, with its standard deviation if it has one."""
    if key not in scores:
        return "-"
    deviation = scores.get(key.removesuffix("_mean") + "_std")
    return f"{scores[key]:.3g}" + (f" ± {deviation:.1g}" if deviation is not None else "")


def costs_table(costs: "Mapping[str, SamplingCost]") -> Table:
    """The cost of each sampler's images, samplers across."""
    table = Table(title="cost", title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    for name in costs:
        table.add_column(Text(printable(name)), justify="right")
    table.add_row("seconds", *(f"{cost.seconds:.2f}" for cost in costs.values()))
    for key in ("gradient_calls", "generator_passes", "discriminator_passes"):
        values = (cost.as_dict()[key] for cost in costs.values())
        table.add_row(f"{key.replace('_', ' ')} per image", *(f"{value:.4g}" for value in values))
    return table


class PipeConsole(Console):
    """Raises an error on a broken pipe, where rich would exit."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    return PipeConsole(stderr=stderr)


def print_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """The table at the end of a run, on stdout."""
    out = console()
    metrics, cost = summary["metrics"], NO_COST | summary["cost"]
    title = printable(f"{summary['status']} at step {summary['step']}")
    if "unavailable" in metrics:
        out.print(title, style="bold", markup=False, highlight=False)
        out.print(
            f"scores unavailable: {printable(metrics['unavailable'])}", markup=False, highlight=False, soft_wrap=True
        )
    else:
        best = f"best (step {metrics.get('best_step')})" if metrics["best"] else "best"
        columns = {"last": metrics["last"], best: metrics["best"]}
        out.print(scores_table(title, with_floor(columns, metrics.get("floor", {}))))
        if metrics.get("floor"):
            halves = f"{REAL}: the same metrics on two random halves of the real images, one scored against the other"
            out.print(halves, highlight=False, soft_wrap=True)
        directions = metrics.get("directions", {})
        lower = [key for key, better in directions.items() if better == "lower"]
        others = "; of the others, higher" if len(lower) < len(directions) else ""
        neither = [key for key in metrics["last"] if key not in directions and not key.endswith("_std")]
        others += f"; neither: {printable(', '.join(neither))}" if neither and directions else ""
        better = f"lower is better: {printable(', '.join(lower))}{others}"
        out.print(better, markup=False, highlight=False, soft_wrap=True)
    counts = {key.removesuffix("_updates"): cost[key] for key in cost if key.endswith("_updates")}
    updates = ", ".join(f"{count:,} {player} updates" for player, count in counts.items())
    samples = f"gan-sample {folder}, " if "generator" in counts else ""
    lines = {
        "protocol": ", ".join(f"{key} {short(value)}" for key, value in summary["protocol"].items()),
        "cost": f"{cost['seconds']:.1f} s of training, {cost['scoring_seconds']:.1f} s of scoring, "
        f"{cost['images_per_second']:,.0f} images/s, "
        f"{cost['images_seen']:,} images seen, {updates}, peak memory {cost['peak_memory_bytes'] / 2**20:,.0f} MiB",
        "pictures": f"{folder / 'curves.png'}, {folder / 'samples'}",
        "next": f"{samples}gan-eval {folder}, gan-train resume={folder} steps=<more>",
    }
    for name, line in lines.items():
        out.print(f"{name}: {printable(line, MOST_OF_LINE)}", markup=False, highlight=False, soft_wrap=True)


def short(value: object) -> str:
    """The value as text, hashes cut to their first digits; summary.json has all of them."""
    text = str(value)
    return text[:8] if len(text) == 64 else text
