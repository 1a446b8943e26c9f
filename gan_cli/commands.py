"""What the console scripts do once their config is composed: train, continue, evaluate, sample."""

import json
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gan_cli import checkpoint, pictures
from gan_cli.build import build_dataset, build_experiment, build_scorer, load_players, load_table
from gan_cli.config import EVALUATION, SAMPLING, Config, config_problems, read_config, read_options
from gan_cli.engine import choose_device
from gan_cli.errors import InterruptedRunError, UserError
from gan_cli.evaluation import Generated, generate, scoring
from gan_cli.experiment import Experiment, Players
from gan_cli.latent_samplers.latent_sampler import LatentSampler, Refinement
from gan_cli.report import console, costs_table, print_summary, scores_table
from gan_cli.run_folder import RunFolder, create
from gan_cli.runner import Run, protocol, stop_on_signal
from gan_cli.trust import trusted_config

DEFAULT_PRIOR = "gan_cli.latent_samplers.gaussian.Gaussian"  # under each refinement, unless a command says otherwise


def train(composed: DictConfig) -> None:
    """gan-train: a new run, the one in `run_dir` again, or the one in `resume` further."""
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    config, options = read_config(composed)
    if options["resume"] is not None:
        resume(options, overrides)
    else:
        choices = hydra.runtime.choices
        begin(config, options, overrides, OmegaConf.to_yaml(composed), f"{choices['objective']}-{choices['dataset']}")


def begin(config: Config, options: dict[str, Any], overrides: list[str], composed: str, short_name: str) -> None:
    """Trains in a new folder, or goes on in `run_dir` if the same config has been there before."""
    if options["run_dir"] is None:
        run(config, options["device"], None, lambda: create(Path(options["outputs"]), short_name), composed, overrides)
        return
    path = Path(options["run_dir"])
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"run_dir={path} is not a folder")
    except OSError as error:
        raise UserError(f"run_dir={path} cannot be a folder: {error}") from error
    strangers = {file.name for file in path.iterdir()} - {".lock"} if path.is_dir() else set()
    if strangers and ".hydra" not in strangers:
        raise UserError(f"run_dir={path} holds files that are not a run's: choose an empty or a new folder")
    found = checkpoint.newest(path)
    if found is not None and found.config != config:
        changes = difference(found.config, config)
        raise UserError(f"run_dir={path} was started with another config ({changes}): choose another run_dir")
    run(config, options["device"], found, lambda: path, composed, overrides)


def resume(options: dict[str, Any], overrides: list[str]) -> None:
    """Continues the run in `resume` as it was started."""
    allowed = ("resume", "device", "trust")
    others = [override for override in overrides if override.split("=")[0].lstrip("+") not in allowed]
    if others:
        raise UserError(f"resume continues a run as it was started: remove {' '.join(others)}")
    path = Path(options["resume"])
    if not (path / "checkpoints").is_dir():
        raise UserError(f"resume={path} is not a run's folder")
    found = checkpoint.newest(path)
    if found is None:
        raise UserError(f"resume={path} has no checkpoint: it was never started")
    run(trusted_config(found, options["trust"]), options["device"], found, lambda: path, "", found.overrides)


def run(
    config: Config,
    device_name: str,
    found: checkpoint.Checkpoint | None,
    make_folder: Callable[[], Path],
    composed: str,
    overrides: list[str],
) -> None:
    """Builds everything, and only then touches the run's folder and trains in it."""
    if found is not None:
        finished = RunFolder(found.folder.parents[1])
        summary = finished.summary()
        if summary is not None and summary["status"] == "completed" and found.step == config["steps"]:
            print_summary(summary, finished.path)
            return
    with ExitStack() as held:
        if found is not None:  # a run that is still writing would take its checkpoint away from under us
            held.enter_context(RunFolder(found.folder.parents[1]).locked())
        experiment = build_experiment(config, choose_device(device_name))
        scorer, unavailable = build_scorer(experiment)
        if unavailable:
            warnings.warn(f"training goes on without scores: {unavailable}", stacklevel=1)
        if found is not None:
            found.restore(experiment.parts(), experiment.players.device)
        try:
            folder = RunFolder(make_folder())
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the run's folder cannot be made: {error}") from error
        if found is None:
            held.enter_context(folder.locked())
        stop = held.enter_context(stop_on_signal())
        print(f"run folder: {folder.path}", file=sys.stderr)
        newest = checkpoint.newest(folder.path)
        if (newest and newest.step) != (found and found.step):
            raise UserError(f"{folder.path} was written by another process in the meantime: repeat the command")
        if found is None:
            folder.start(composed, overrides)
        folder.rewind(found.step if found is not None else 0)
        this = Run(
            experiment=experiment,
            scorer=scorer,
            unavailable=unavailable,
            folder=folder,
            config=config,
            overrides=overrides,
            step=found.step if found is not None else 0,
            seconds=found.seconds if found is not None else 0.0,
        )
        status = this.train(stop)
    if status == "interrupted":
        message = f"interrupted at step {this.step}; go on with: gan-train resume={folder.path}"
        raise InterruptedRunError(message, stop.signal or signal.SIGINT)
    print_summary(folder.summary() or {}, folder.path)


def difference(old: Config, new: Config) -> str:
    """Every leaf that differs, as key: old -> new."""
    before, after = flatten(old), flatten(new)
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    return "; ".join(f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}" for key in changed)


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {path: node}
    leaves = (flatten(value, f"{path}.{key}".lstrip(".")) for key, value in node.items())
    return {name: value for branch in leaves for name, value in branch.items()}


def evaluate(composed: DictConfig) -> None:
    """gan-eval: the scores of a checkpoint, as JSON on stdout and as a table on stderr.

    With a latent sampler, also of its prior alone on the same draws, and a picture of both.
    """
    options = read_options(composed, EVALUATION)
    found = checkpoint.find(Path(options["checkpoint"]), options["which"])
    config = with_options(trusted_config(found, options["trust"]), options)
    config |= {key: options[key] for key in ("num_eval_images", "evaluation_seed") if options[key] is not None}
    if options["out"] is not None and options["latent_sampler"] is None:
        raise UserError("out is where the pictures of a latent sampler go: add latent_sampler=<choice>")
    experiment = build_experiment(config, choose_device(options["device"]))
    found.restore(experiment.players.parts(), experiment.players.device)
    scorer, unavailable = build_scorer(experiment)
    if scorer is None:
        raise UserError(unavailable)
    seed, count = experiment.settings.evaluation_seed, experiment.num_eval_images

    def made_by(players: Players) -> Generated:
        return generate(players, count, seed, players.calibration(experiment.table), experiment.dataset.stored)

    out = None
    made = {chosen_sampler() or "score": made_by(experiment.players)}
    if options["latent_sampler"] is not None:
        out = new_folder(options["out"] or f"gan-eval-{default_name(found)}-{chosen_sampler()}", empty=False)
        plain = replace(experiment.players, latent_sampler=innermost(experiment.players.latent_sampler))
        made = {"plain": made_by(plain)} | made
        draw_beside(out, experiment, made)
    scores = {name: scorer.score(images.values) for name, images in made.items()}
    *plain_name, name = made
    floor = scorer.floor()
    console(stderr=True).print(scores_table(f"step {found.step}", scores | {"floor": floor}))
    if plain_name:
        console(stderr=True).print(costs_table({name: images.cost for name, images in made.items()}))
    result = {
        "checkpoint": str(found.folder),
        "step": found.step,
        "latent_sampler": config["latent_sampler"],
        "metrics": scores[name],
        "cost": made[name].cost.as_dict(),
        **({"plain": {"metrics": scores["plain"], "cost": made["plain"].cost.as_dict()}} if plain_name else {}),
        "floor": floor,
        "protocol": protocol(experiment, scorer, count, seed),
        **({"pictures": str(out)} if out else {}),
    }
    print(json.dumps(result, indent=2))


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
    out = new_folder(options["out"] or f"gan-sample-{default_name(found)}-seed-{options['seed']}{suffix}", empty=True)
    values = generate(players, options["num_images"], options["seed"], real, dataset.stored).values
    dataset.draw(out / "grid.png", values, scoring(players))
    dataset.write(out, values)
    print(out)


def with_options(config: Config, options: dict[str, Any]) -> Config:
    """A checkpoint's config with the data's place and the latent sampler of this command."""
    if options["dataset"].get("root") is not None:
        if "root" not in config["dataset"]:
            raise UserError("the checkpoint's data set has no root: remove dataset.root")
        config["dataset"]["root"] = options["dataset"]["root"]
    if options["latent_sampler"] is not None:
        config["latent_sampler"] = on_prior(options["latent_sampler"], innermost_node(config["latent_sampler"]))
        problems = config_problems(config)
        if problems:
            raise UserError("; ".join(problems))
    return config


def on_prior(node: Config, prior: Config) -> Config:
    """The chosen sampler on the checkpoint's prior; one that is a prior itself takes the width of its latents.

    Raises UserError where the command names another prior to go there.
    """
    if "prior" not in node:
        return node | ({"latent_dim": prior["latent_dim"]} if "latent_dim" in node else {})
    if "prior" in node["prior"]:
        return node | {"prior": on_prior(node["prior"], prior)}
    if node["prior"].get("_target_") not in (prior["_target_"], DEFAULT_PRIOR):
        raise UserError("the prior is the one that the checkpoint was trained with: remove it from the command")
    return node | {"prior": prior}


def innermost_node(node: Config) -> Config:
    return innermost_node(node["prior"]) if "prior" in node else node


def innermost(sampler: LatentSampler) -> LatentSampler:
    return innermost(sampler.prior) if isinstance(sampler, Refinement) else sampler


def chosen_sampler() -> str | None:
    """The latent sampler named on this command's line."""
    choice: str | None = HydraConfig.get().runtime.choices.get("latent_sampler")
    return choice


def default_name(found: checkpoint.Checkpoint) -> str:
    return f"{found.folder.resolve().parents[1].name}-step-{found.step}"


def new_folder(name: str, *, empty: bool) -> Path:
    """The folder that results go to, made if it is not there; `empty`: not one that holds anything."""
    out = Path(name)
    try:
        taken = out.exists() and (not out.is_dir() or (empty and any(out.iterdir())))
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if not out.exists():
            raise UserError(f"out={out} cannot be made: {error}") from error
        taken = True
    if taken:
        wanted = "an empty folder" if empty else "a folder"
        raise UserError(f"out={out} is there already and not {wanted}: choose another with out=<folder>")
    return out


COMMANDS = {"train": train, "eval": evaluate, "sample": sample}
