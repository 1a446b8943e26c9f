"""What gan-sample does with checked options: images of a checkpoint, as one grid and one file each."""

from pathlib import Path
from typing import Any

from gan_cli.commands.evaluate import chosen_sampler
from gan_cli.commands.out import free_folder, writing
from gan_cli.config.build import load_training_set
from gan_cli.engine import choose_engine
from gan_cli.evaluation import generate, scoring
from gan_cli.runs import pictures
from gan_cli.runs.progress import showing_work
from gan_cli.runs.trained import open_trained


def sample(options: dict[str, Any]) -> None:
    """Loads the data only for a sampler that reads real images, and for points, which are drawn with real ones."""
    engine, root = choose_engine(options["device"]), options["dataset"]["root"]
    trained = open_trained(Path(options["checkpoint"]), options["which"], options["trust"], root, engine)
    gan, chosen = trained.gan, options["sampler_name"]
    if chosen is not None:
        gan = gan.with_sampler(chosen_sampler(options, gan.latent_sampler.innermost, engine.device))
    suffix = "" if chosen is None else f"-{chosen}"
    default = Path(options["outputs"]) / "samples" / f"{trained.name}-seed-{options['seed']}{suffix}"
    out = free_folder(options["out"] or str(default))
    needed = gan.latent_sampler.reads_real(gan.game.objective) or pictures.are_points(trained.found.image_shape)
    with showing_work():
        training_set = load_training_set(trained.dataset).to_engine(engine) if needed else None
        real = None if training_set is None else gan.calibration(training_set)
        values = generate(gan, options["num_images"], options["seed"], real, trained.dataset.stored).values
    with writing(out):
        drawn_with = None if training_set is None else training_set.values
        pictures.save_fake(out / "grid.png", values, drawn_with, scoring(gan))
        pictures.save_each(out, values)
    print(out)
