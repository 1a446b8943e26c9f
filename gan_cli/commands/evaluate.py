"""What gan-eval does with checked options: scores a checkpoint, also with another latent sampler."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gan_cli import launched
from gan_cli.commands.attack import attack
from gan_cli.commands.out import IMAGES, MANIFEST, conclude, folder_for, writing
from gan_cli.commands.self_check import self_check
from gan_cli.config.build import (
    build_dataset,
    build_sampler,
    build_scorer,
    build_scorer_or_other,
    build_settings,
    check_sampler,
    check_scorer,
    engine_settings,
    load_training_set,
)
from gan_cli.config.nodes import on_prior
from gan_cli.config.pretrained import check_weights_families, trained_weights
from gan_cli.data import TrainingSet, sha256_of
from gan_cli.datasets.given_images import GivenImages, first_size, read_given
from gan_cli.engine import Engine, choose_engine
from gan_cli.errors import UserError, one_line
from gan_cli.evaluation import Generated, Scored, score_seeds, scoring
from gan_cli.experiment import GAN
from gan_cli.files import is_there, slug
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.metrics.metrics import NearestImages, Subject
from gan_cli.ranks import join, shared_out
from gan_cli.runs import pictures
from gan_cli.runs.progress import showing_work
from gan_cli.runs.summary import console, costs_table, protocol, scores_table, with_floor
from gan_cli.runs.trained import Trained, open_trained
from gan_cli.shapes import unlabelled


def evaluate(options: dict[str, Any]) -> None:
    """The scores of a checkpoint, as JSON on stdout and in a file, and as a table on stderr.

    With a latent sampler, also those of the checkpoint's prior alone on the same draws, and a picture of both. Several
    processes share out the images; the first one writes.
    """
    alone = [name for name in ("self_check", "images", "attacks") if options.get(name)]
    if alone and launched.num_processes() > 1:
        raise UserError(f"{alone[0].removesuffix('s')} is of one process: start it without torchrun")
    ranks = join(float(options["rank_timeout"]))
    engine, root = choose_engine(options["device"], ranks), options["dataset"].get("root")
    if options["self_check"]:
        self_check(root, engine)
        return
    if options["images"] is not None:
        evaluate_images(options, engine)
        return
    if options["attacks"]:
        if options["num_evaluation_seeds"] is not None:
            raise UserError("an attack is made once: remove num_evaluation_seeds")
        attack(options, engine)
        return
    chosen = options["sampler_name"]
    with ranks.together():
        trained = open_trained(
            Path(options["checkpoint"]), options["which"], options["trust"], root, engine, options["ema"]
        )
        out = folder_for(options, trained.name if chosen is None else f"{trained.name}-{chosen}")
        samplers = samplers_to_score(trained, options)
    settings = build_settings(trained.config)
    given = {key: options[key] for key in ("evaluation_seed", "num_evaluation_seeds") if options[key] is not None}
    settings = replace(settings, **given)
    scored: dict[str, Scored] = {}
    with showing_work() if ranks.leads else nullcontext():
        with ranks.together():
            training_set = load_training_set(trained.dataset).to_engine(engine)
            count = options["num_eval_images"] or settings.images_to_score(len(training_set))
            conditional = trained.gan.game.conditional
            scorer, unavailable = build_scorer(trained.dataset, training_set, count, conditional=conditional)
            if scorer is None:
                raise UserError(unavailable)
            check_scorer(scorer, trained.gan, settings.num_evaluation_seeds)
            check_weights_families(trained.config, scorer)
        count = count if scorer.reads_images else 0
        for name, sampler in samplers.items():
            gan = trained.gan.with_sampler(sampler)
            real, stored = gan.calibration(training_set), trained.dataset.stored
            with shared_out(ranks):
                scored[name] = score_seeds(gan, scorer, settings.evaluation_seeds, count, real, stored)
        ranks.close()
        if not ranks.leads:
            return
        last = scored[list(samplers)[-1]].subject
        nearest, confusion = scorer.nearest(last), scorer.confusion(last)
        floor = scorer.floor()
    made = {name: each.made for name, each in scored.items()}
    scores = {name: each.metrics for name, each in scored.items()}
    repeated = settings.num_evaluation_seeds
    title = f"step {trained.found.step}" + (f", means over {repeated} evaluation seeds" if repeated > 1 else "")
    console(stderr=True).print(scores_table(title, with_floor(scores, floor)))
    costs = {name: made[name].cost.as_dict() if count else {} for name in samplers}
    repeats = {name: {"repeats": each.repeats} if each.repeats else {} for name, each in scored.items()}
    results = {name: {"metrics": scores[name], "cost": costs[name]} | repeats[name] for name in samplers}
    *plain, name = samplers
    own = trained.config["latent_sampler"]
    result = {
        "checkpoint": str(trained.found.folder),
        "step": trained.found.step,
        "latent_sampler": on_prior(options["latent_sampler"], own, made[name].refined.codes.shape[1]) if plain else own,
        **results[name],
        "floor": floor,
        "protocol": protocol(
            trained.dataset,
            training_set,
            scorer,
            count or None,
            settings.evaluation_seeds,
            engine_settings(trained.config).precision,
            trained.weights,
        )
        | trained_weights(trained.config),
    }
    if trained.ema is not None:
        result |= {"ema": {"width": trained.ema, "profile_error": trained.profile_error}}
    if plain:
        console(stderr=True).print(costs_table({name: images.cost for name, images in made.items()}))
        result |= {"plain": results["plain"]}
    conclude(out, result)
    if plain:
        with writing(out):
            draw_side_by_side(out, trained, training_set, made)
    draw_nearest(out, nearest)
    if confusion is not None:
        with writing(out):
            pictures.save_confusion(out / "confusion.png", confusion)


def evaluate_images(options: dict[str, Any], engine: Engine) -> None:
    """The scores of images from anywhere against a data set or a second folder, measured as those of a checkpoint are.

    A folder of gan-sample stands for the images in it, without the grid beside them.
    """
    path, node = images_at(options["images"]), options["dataset"]
    with refused():
        if options["reference"] is not None:
            real = images_at(options["reference"])
            node = node | {"root": str(real), "image_size": min(first_size(real, "reference"))}
        dataset = build_dataset({"dataset": node})
    out = folder_for(options, slug(f"{Path(options['images']).resolve().name}-against-{dataset.protocol['dataset']}"))
    with showing_work():
        training_set = load_training_set(dataset).to_engine(engine)
        with refused():
            given = read_given(path, dataset, training_set.image_shape)
        count = len(given.values)
        _, dataset, scorer, unavailable = build_scorer_or_other({"dataset": node}, dataset, training_set, count)
        if scorer is None:
            raise UserError(unavailable)
        subject = Subject(given.values, unlabelled(count))
        scores, nearest, floor = scorer.score(subject), scorer.nearest(subject), scorer.floor()
        digest = sha256_of(given.values, "given images")
    warn_of_images(given, len(training_set), training_set.image_shape)
    console(stderr=True).print(scores_table(f"{count:,} images", with_floor({"images": scores}, floor)))
    measured = protocol(dataset, training_set, scorer, count, [])
    stamp = {"num_resized": given.num_resized, "fake_sha256": digest}
    conclude(out, {"images": str(path), "metrics": scores, "floor": floor, "protocol": measured | stamp})
    draw_nearest(out, nearest)


def draw_nearest(out: Path, nearest: NearestImages | None) -> None:
    if nearest is not None:
        with writing(out):
            pictures.save_nearest(out / "nearest.png", nearest)


def images_at(given: str) -> Path:
    path = Path(given)
    return path / IMAGES if is_there(path / MANIFEST) else path


@contextmanager
def refused() -> Iterator[None]:
    """Images that cannot be read are the user's to mend."""
    try:
        yield
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        raise UserError(one_line(error)) from error


def warn_of_images(given: GivenImages, num_real: int, image_shape: tuple[int, int, int]) -> None:
    count, (height, width) = len(given.values), image_shape[1:]
    if given.num_resized:
        warnings.warn(
            f"{given.num_resized:,} of {count:,} images were resized to {width} x {height}, as the real ones are",
            stacklevel=1,
        )
    if count < num_real:
        warnings.warn(
            f"{count:,} images are scored against {num_real:,} real ones: fewer images have a higher FID, so compare "
            "only scores of as many",
            stacklevel=1,
        )


def samplers_to_score(trained: Trained, options: dict[str, Any]) -> dict[str, LatentSampler]:
    """The run's own sampler; or its prior alone, and the chosen sampler on that prior."""
    name, prior = options["sampler_name"], trained.gan.latent_sampler.innermost
    if name is not None and not trained.gan.game.objective.generates:
        raise UserError(f"{options['checkpoint']} has no generator: leave out latent_sampler={name}")
    if name is None:
        return {"score": trained.gan.latent_sampler}
    return {"plain": prior, name: chosen_sampler(options, trained.gan)}


def chosen_sampler(options: dict[str, Any], gan: GAN) -> LatentSampler:
    """The chosen sampler, on the run's prior; raises UserError for one that only changes training.

    And for one that reads a discriminator, if the run has none.
    """
    sampler = build_sampler(options["latent_sampler"], gan.latent_sampler.innermost, gan.game.engine.device)
    check_sampler(sampler, gan.game.objective)
    if sampler.innermost is not sampler and not sampler.refines_evaluation:
        raise UserError(
            f"{options['sampler_name']} only changes training: choose one that changes sampling, as advlat_z does"
        )
    return sampler


def draw_side_by_side(out: Path, trained: Trained, training_set: TrainingSet, made: dict[str, Generated]) -> None:
    """Images of two samplers from the same draws: samples.png, and latents.png if codes have two dimensions."""
    count = pictures.num_drawn(training_set.image_shape)
    with TemporaryDirectory() as scratch:
        drawn = {name: Path(scratch) / f"{name}.png" for name in made}
        for name, images in made.items():
            pictures.save_fake(drawn[name], images.values[:count], training_set.values, scoring(trained.gan))
        pictures.save_side_by_side(out / "samples.png", drawn)
    codes = {name: images.refined.codes for name, images in made.items()}
    if all(points.shape[1] == 2 for points in codes.values()):
        pictures.save_latents(out / "latents.png", codes)
