"""The jobs of a sweep: the union of grids of overrides; each point is one job of gan-train."""

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.hints import refused_key
from gan_cli.config.nodes import Config
from gan_cli.config.overrides import choices, key_of, labels, set_by_debug
from gan_cli.config.read import read_config
from gan_cli.errors import UserError
from gan_cli.files import slug
from gan_cli.runs.initial import initial_of, initialized
from gan_cli.sweep.options import SWEEPING
from gan_cli.sweep.sweep_folder import Job, Point, fingerprint

MOST_OF_NAME = 120  # characters
Compose = Callable[[Point], DictConfig]


def plan(
    study: Mapping[str, Any],
    params: Mapping[str, str],
    arguments: Sequence[str],
    compose: Compose,
    parser: OverridesParser,
) -> list[Job]:
    """Every job, the same config only once, all methods of one seed before the next seed.

    Raises UserError that names every problem of all jobs, and Hydra's own exceptions.
    """
    rows = grid_points(study, params, arguments, parser)
    composed = compose_all([point for point, _ in rows], compose)
    shared = set.intersection(*(set(point) for point, _ in composed))
    told = labels(override for point, _ in composed for override in point if override not in shared)
    jobs: dict[str, Job] = {}
    problems: dict[str, str] = {}
    for (point, whole), (_, published) in zip(composed, rows, strict=True):
        shown = " ".join(override for override in point if override not in shared)
        try:
            config = read_run(whole)
        except UserError as error:
            problems.setdefault(str(error), shown)
            continue
        job = Job(job_name(point, told, config), point, config, published, str(study.get("source", "")))
        jobs.setdefault(fingerprint(config), job)
    if problems:
        raise UserError("; ".join(error + (f" (in {shown})" if shown else "") for error, shown in problems.items()))
    return list(jobs.values())


def grid_points(
    study: Mapping[str, Any], params: Mapping[str, str], arguments: Sequence[str], parser: OverridesParser
) -> list[tuple[Point, dict[str, float]]]:
    """The product of each grid's choices, each point with its published scores.

    The command line, including debug=fast, overrides the study.
    """
    points = []
    small = {key for argument in arguments for key in set_by_debug(argument)}
    for grid in study.get("grids") or [{}]:
        chosen = dict(grid)
        published = read_published(chosen.pop("published", None))
        assigned = dict(params) | dict(study.get("params") or {}) | chosen
        assigned = {key: value for key, value in assigned.items() if key_of(key) not in small}
        overrides = parser.parse_overrides([f"{key}={value}" for key, value in assigned.items()] + list(arguments))
        axes = {key_of(override): choices(override) for override in overrides}
        for key, values in axes.items():
            if not values:
                raise UserError(f"{key} has a range of values, which needs a search: hydra/sweeper=optuna")
        points += [(list(point), published) for point in itertools.product(*axes.values())]
    seeds = list(dict.fromkeys(seed_of(point) for point, _ in points))
    return sorted(points, key=lambda row: seeds.index(seed_of(row[0])))


def read_published(given: Any) -> dict[str, float]:
    """Numbers by metric; raises UserError for anything else."""
    scores = {} if given is None else given
    if not isinstance(scores, dict) or not all(
        isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score)
        for score in scores.values()
    ):
        raise UserError(f"published: {given} in the study must be numbers by metric, as in published: {{fid: 41.7}}")
    return {str(metric): float(score) for metric, score in scores.items()}


def seed_of(point: Point) -> str:
    return next((override for override in point if key_of(override) == "seed"), "")


def compose_all(points: Sequence[Point], compose: Compose) -> list[tuple[Point, DictConfig]]:
    """Each point with its config, without the overrides that its choices do not have.

    `objective=stdgan,realness num_outcomes=51` sets the outcomes of realness only. An override that no point has is an
    error.
    """
    jobs: list[tuple[Point, DictConfig]] = []
    taken: set[str] = set()
    refused: dict[str, ConfigCompositionException] = {}
    for original in points:
        point = original
        while True:
            try:
                config = compose(point)
                break
            except ConfigCompositionException as error:
                key = refused_key(error)
                fitting = [override for override in point if key_of(override) != key]
                if fitting == point:
                    raise
                refused.setdefault(key, error)
                point = fitting
        taken.update(key_of(override) for override in point)
        jobs.append((point, config))
    for key, refusal in refused.items():
        if key not in taken:
            raise refusal
    return jobs


def read_run(composed: DictConfig) -> Config:
    """The run's config, without the sweep's options."""
    config, options = read_config(run_part(composed))
    return initialized(config, initial_of(options))


def run_part(composed: DictConfig) -> DictConfig:
    ours: Collection[str] = {"hydra", *SWEEPING}
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key not in ours])


def job_name(point: Point, told: Mapping[str, str], config: Config) -> str:
    """The labels of the overrides that are `told`, but for the seed, and a hash of the whole config."""
    words = [told[override] for override in point if override in told and key_of(override) != "seed"]
    return f"{slug('-'.join(words), MOST_OF_NAME)}-seed-{config['seed']}-{fingerprint(config)}".lstrip("-")
