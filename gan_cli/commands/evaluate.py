"""What is done with a run that has been trained: score it, and sample from it, also with another latent sampler."""

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gan_cli.commands.self_check import self_check
from gan_cli.config.build import build, build_dataset, build_experiment, build_scorer, load_players, load_table
from gan_cli.config.check import config_problems, find_class
from gan_cli.config.nodes import Config
from gan_cli.config.read import EVALUATION, SAMPLING, read_options
from gan_cli.config.trust import trusted_config
from gan_cli.engine import choose_device
from gan_cli.errors import UserError
from gan_cli.evaluation import Generated, generate, scoring
from gan_cli.experiment import Experiment
from gan_cli.latent_samplers.latent_sampler import Refinement
from gan_cli.runs import checkpoint, pictures
from gan_cli.runs.run import protocol
from gan_cli.runs.summary import REAL, console, costs_table, scores_table


def evaluate(composed: DictConfig) -> None:
    """gan-eval: the scores of a checkpoint, as JSON on stdout and as a table on stderr.

    With a latent sampler, also of the checkpoint's prior alone on the same draws, and a picture of both.
    """
    if composed.get("self_check"):
        composed.checkpoint = "none"
    options = read_options(composed, EVALUATION)
    if options["self_check"]:
        self_check(options["dataset"]["root"], choose_device(options["device"]))
        return
    chosen = chosen_sampler()
    if options["out"] is not None and chosen is None:
        raise UserError("out is where the pictures of a latent sampler go: add latent_sampler=<choice>")
    found = checkpoint.find(Path(options["checkpoint"]), options["which"])
    default = f"gan-eval-{default_name(found)}-{chosen}-{secrets.token_hex(3)}"
    out = free_folder(options["out"] or default) if chosen is not None else None
    trained = trusted_config(found, options["trust"])
    config = with_options(trained, options)
    config |= {key: options[key] for key in ("num_eval_images", "evaluation_seed") if options[key] is not None}
    experiment = build_experiment(config, choose_device(options["device"]))
    players = experiment.players
    found.restore(players.parts(), players.device)
    scorer, unavailable = build_scorer(experiment)
    if scorer is None:
        raise UserError(unavailable)
    seed, count = experiment.settings.evaluation_seed, experiment.num_eval_images
    samplers = {chosen or "score": players.latent_sampler}
    if chosen is not None:
        samplers = {"plain": build("latent_sampler", innermost(trained["latent_sampler"]))} | samplers
    made: dict[str, Generated] = {}
    for name, sampler in samplers.items():
        with_sampler = replace(players, latent_sampler=sampler)
        real = with_sampler.calibration(experiment.table)
        made[name] = generate(with_sampler, count, seed, real, experiment.dataset.stored)
    scores = {name: scorer.score(images.values) for name, images in made.items()}
    floor = scorer.floor()
    console(stderr=True).print(scores_table(f"step {found.step}", scores | {REAL: floor}))
    result = {
        "checkpoint": str(found.folder),
        "step": found.step,
        "latent_sampler": config["latent_sampler"],
        "metrics": scores[chosen or "score"],
        "cost": made[chosen or "score"].cost.as_dict(),
        "floor": floor,
        "protocol": protocol(experiment, scorer, count, seed),
    }
    if chosen is not None:
        console(stderr=True).print(costs_table({name: images.cost for name, images in made.items()}))
        plain = {"metrics": scores["plain"], "cost": made["plain"].cost.as_dict()}
        result |= {"plain": plain, "pictures": str(out)}
    print(json.dumps(result, indent=2))
    if out is not None:
        with writing(out):
            draw_beside(out, experiment, made)


def draw_beside(out: Path, experiment: Experiment, made: dict[str, Generated]) -> None:
    """What two samplers make of the same draws: samples.png, and latents.png where latents have two dimensions."""
    dataset, names = experiment.dataset, list(made)
    with TemporaryDirectory() as scratch:
        drawn = {name: Path(scratch) / f"{name}.png" for name in names}
        for name, images in made.items():
            dataset.draw(drawn[name], images.values[: dataset.num_drawn], scoring(experiment.players))
        pictures.save_beside(out / "samples.png", drawn)
    if made[names[0]].latents.shape[1] == 2:
        pictures.save_latents(out / "latents.png", {name: images.latents for name, images in made.items()})


def sample(composed: DictConfig) -> None:
    """gan-sample: images of a checkpoint, as one grid and one file each."""
    options = read_options(composed, SAMPLING)
    found = checkpoint.find(Path(options["checkpoint"]), options["which"])
    config = with_options(trusted_config(found, options["trust"]), options)
    players = load_players(found, config, choose_device(options["device"]))
    dataset = build_dataset(config)
    real = torch.empty(0, *found.image_shape, device=players.device)
    if players.latent_sampler.reads_real(players.game.objective):
        real = players.calibration(load_table(dataset))
    suffix = f"-{chosen_sampler()}" if chosen_sampler() else ""
    out = free_folder(options["out"] or f"gan-sample-{default_name(found)}-seed-{options['seed']}{suffix}")
    values = generate(players, options["num_images"], options["seed"], real, dataset.stored).values
    with writing(out):
        dataset.draw(out / "grid.png", values, scoring(players))
        dataset.write(out, values)
    print(out)


def with_options(trained: Config, options: dict[str, Any]) -> Config:
    """A checkpoint's config with the data's place and the latent sampler of this command.

    It fetches nothing: a file from elsewhere must not choose where a download is written.
    """
    config = dict(trained)
    if "download" in config["dataset"]:
        config["dataset"] = config["dataset"] | {"download": False}
    if options["dataset"].get("root") is not None:
        if "root" not in config["dataset"]:
            raise UserError("the checkpoint's data set has no root: remove dataset.root")
        config["dataset"] = config["dataset"] | {"root": options["dataset"]["root"]}
    if options["latent_sampler"] is not None:
        check_sampler(options["latent_sampler"])
        config["latent_sampler"] = on_prior(options["latent_sampler"], innermost(trained["latent_sampler"]))
        problems = config_problems(config)
        if problems:
            raise UserError("; ".join(problems))
    return config


def check_sampler(node: Config) -> None:
    """Refuses what the command says about the prior, which is the checkpoint's, and samplers that only train."""
    depth, below = 0, node
    classes: list[Any] = [find_class("latent_sampler", node.get("_target_"))]
    while "prior" in below:
        below = below["prior"]
        if not isinstance(below, dict):
            raise UserError("latent_sampler.prior must be left alone: it is the checkpoint's own")
        depth += 1
        classes.append(find_class("latent_sampler", below.get("_target_")))
    path = "latent_sampler" + ".prior" * depth
    for override in HydraConfig.get().overrides.task:
        key = override.lstrip("+~").split("=")[0]
        if depth and re.fullmatch(rf"(latent_sampler@)?{re.escape(path)}(\..*)?", key):
            raise UserError(f"{override}: the prior is the checkpoint's own: remove it")
    if depth and all(c.for_evaluation is Refinement.for_evaluation for c in classes[:-1]):
        raise UserError(
            f"{chosen_sampler()} changes training alone: choose one that changes sampling, as advlat_z does"
        )


def on_prior(node: Config, prior: Config) -> Config:
    """The chosen sampler on the checkpoint's prior; one that is a prior itself takes the width of its latents."""
    if "prior" in node:
        return node | {"prior": on_prior(node["prior"], prior) if "prior" in node["prior"] else prior}
    return node | ({"latent_dim": prior["latent_dim"]} if "latent_dim" in node else {})


def innermost(node: Config) -> Config:
    """The prior under all refinements."""
    return innermost(node["prior"]) if "prior" in node else node


def chosen_sampler() -> str | None:
    """The latent sampler named on this command's line."""
    choice: str | None = HydraConfig.get().runtime.choices.get("latent_sampler")
    return choice


def default_name(found: checkpoint.Checkpoint) -> str:
    return f"{found.folder.resolve().parents[1].name}-step-{found.step}"


def free_folder(name: str) -> Path:
    """Where results can go; raises UserError before any work is done if something is there, or it cannot be made."""
    out = Path(name)
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"out={out} is there already and not an empty folder: choose another with out=<folder>")
        home = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        if not home.is_dir() or not os.access(home, os.W_OK):
            raise UserError(f"out={out} cannot be made: {home} cannot be written to")
    except OSError as error:
        raise UserError(f"out={out} cannot be made: {error}") from error
    return out


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Makes the folder, and says in one line where files cannot be written to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error}") from error
