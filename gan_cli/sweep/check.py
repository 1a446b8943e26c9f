"""Builds the parts of a sweep's jobs once, without weights, before anything is written: what fails would fail later."""

import json
from collections.abc import Sequence

from gan_cli.config.build import build_dataset, check_batch_sizes, check_parts, probe
from gan_cli.config.check import BASES
from gan_cli.config.nodes import Config
from gan_cli.datasets.dataset import Probed
from gan_cli.errors import UserError
from gan_cli.runs.progress import showing_work
from gan_cli.sweep.sweep_folder import Job
from gan_cli.work import track


def check_jobs(jobs: Sequence[Job], *, here: bool) -> None:
    """Looks for each data set, and builds each combination of parts with its images' shape.

    Batches are compared with the number of images where that is known. Raises UserError that names every problem. Data
    that is missing is no problem unless the jobs run `here`.
    """
    parts = {json.dumps([job.config[name] for name in BASES]): job.config for job in jobs}
    known: dict[str, Probed | str] = {}
    problems: dict[str, None] = {}
    with showing_work():
        for config in track(parts.values(), "checking combinations"):
            dataset = json.dumps(config["dataset"])
            if dataset not in known:
                known[dataset] = probed_or_problem(config)
            probed = known[dataset]
            if isinstance(probed, str):
                problems |= {probed: None} if here else {}
                continue
            try:
                check_parts(config, probed.image_shape)
            except UserError as error:
                problems[str(error)] = None
    for job in jobs:
        probed = known[json.dumps(job.config["dataset"])]
        if isinstance(probed, Probed) and probed.num_images is not None:
            try:
                check_batch_sizes(job.config, probed.num_images)
            except UserError as error:
                problems[str(error)] = None
    if problems:
        raise UserError("; ".join(problems))


def probed_or_problem(config: Config) -> Probed | str:
    """What is known of the data set without loading it, or why nothing is."""
    try:
        return probe(build_dataset(config))
    except UserError as error:
        return str(error)
