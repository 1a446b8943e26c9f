"""Builds the parts of a sweep's jobs once, without weights, before anything is written: what fails would fail later."""

import json
from collections.abc import Sequence

from gan_cli.config.build import build_dataset, check_parts, probe
from gan_cli.config.check import BASES
from gan_cli.config.nodes import Config
from gan_cli.errors import UserError
from gan_cli.runs.progress import showing_work
from gan_cli.sweep.sweep_folder import Job
from gan_cli.work import track

Shape = tuple[int, int, int]


def check_jobs(jobs: Sequence[Job], *, here: bool) -> None:
    """Looks for each data set, and builds each combination of parts with its images' shape.

    Raises UserError that names every problem. Data that is missing is no problem unless the jobs run `here`.
    """
    parts = {json.dumps([job.config[name] for name in BASES]): job.config for job in jobs}
    shapes: dict[str, Shape | str] = {}
    problems: dict[str, None] = {}
    with showing_work():
        for config in track(parts.values(), "checking combinations"):
            dataset = json.dumps(config["dataset"])
            if dataset not in shapes:
                shapes[dataset] = shape_or_problem(config)
            shape = shapes[dataset]
            if isinstance(shape, str):
                problems |= {shape: None} if here else {}
                continue
            try:
                check_parts(config, shape)
            except UserError as error:
                problems[str(error)] = None
    if problems:
        raise UserError("; ".join(problems))


def shape_or_problem(config: Config) -> Shape | str:
    """The shape of an image, or why the data set has none."""
    try:
        return probe(build_dataset(config))
    except UserError as error:
        return str(error)
