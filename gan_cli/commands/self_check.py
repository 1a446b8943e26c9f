"""Checks that metrics have their published values: CIFAR-10's train split as if generated, against its test split."""

import json
from dataclasses import replace
from typing import Any

from gan_cli.config.build import build_dataset, load_training_set
from gan_cli.config.overrides import quoted
from gan_cli.config.read import config_of
from gan_cli.data import TrainingSet
from gan_cli.engine import Engine
from gan_cli.errors import EndError, UserError, one_line
from gan_cli.metrics.feature_metrics import FeatureMetrics
from gan_cli.metrics.metrics import WeightsUnavailableError
from gan_cli.runs.progress import showing_work
from gan_cli.runs.summary import console, scores_table

EXPECTED = {"fid": 3.15, "inception_score_mean": 11.24}  # of the standard weights, in pytorch-image-generation-metrics
TOLERANCE = {"fid": 0.02, "inception_score_mean": 0.03}


def self_check(root: str | None, engine: Engine) -> None:
    """gan-eval self_check=true: JSON on stdout, a table on stderr.

    Raises UserError if the data or the weights are missing, and EndError if the scores differ from the published ones.
    """
    place = [] if root is None else [f"dataset.root={quoted(root)}"]
    configs = {split: config_of(["dataset=cifar10", f"dataset.split={split}", *place]) for split in ("train", "test")}
    splits = {split: build_dataset(config) for split, config in configs.items()}
    metrics = splits["train"].metrics
    assert isinstance(metrics, FeatureMetrics)
    with showing_work():
        sets = {split: load_training_set(dataset).to_engine(engine) for split, dataset in splits.items()}
        scores = measured(replace(metrics, names=["fid", "inception_score"]), sets["train"], sets["test"])
    console(stderr=True).print(scores_table("CIFAR-10, train against test", {"here": scores, "published": EXPECTED}))
    off = [key for key, value in EXPECTED.items() if abs(scores[key] - value) > TOLERANCE[key]]
    print(json.dumps({"metrics": scores, "published": EXPECTED, "agrees": not off}, indent=2))
    if off:
        raise EndError(f"{' and '.join(off)} are not the published ones: scores made here do not compare with others")


def measured(metrics: FeatureMetrics, fake: TrainingSet, real: TrainingSet) -> dict[str, Any]:
    """Scores of one training set's images against another's."""
    try:
        extractor = metrics.extractor.load().to(real.device)
    except (WeightsUnavailableError, ValueError) as error:
        raise UserError(one_line(error)) from error
    sides = {"train": fake, "test": real}
    features = {name: metrics.features(extractor, side.values, name) for name, side in sides.items()}
    return metrics.compare(*(features[name].of(side.values, side.labels) for name, side in sides.items()))
