"""What gan-sample does with checked options: images of a checkpoint, as one grid and one file each."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NotRequired

import torch
from filelock import FileLock, Timeout
from typing_extensions import TypedDict

from gan_cli.commands.evaluate import chosen_sampler
from gan_cli.commands.out import IMAGES, MANIFEST, free_folder, writing
from gan_cli.config.build import load_training_set, width_of
from gan_cli.config.nodes import on_prior
from gan_cli.data import ClassLaw, TrainingSet
from gan_cli.engine import choose_engine
from gan_cli.errors import UserError, one_line
from gan_cli.evaluation import BLOCK, blocks, class_rows, draw, render, scoring
from gan_cli.experiment import GAN
from gan_cli.files import is_there, read_json, sweep_partial, write_json
from gan_cli.networks import is_conditional
from gan_cli.runs import pictures
from gan_cli.runs.progress import showing_work
from gan_cli.runs.trained import open_trained
from gan_cli.shapes import Codes, Latents, Stored
from gan_cli.work import track

ALL = "all"  # a row of images for each class
NUM_IMAGES, NUM_COLUMNS = 64, 10  # without num_images: of a folder, and of each class with labels=all
PATH_LENGTH = 8  # images on the way from one code to another, both ends included


class Drawn(TypedDict):
    """sample.json: what every image of a folder is made from; `checkpoint` is the SHA-256 of its tensors."""

    checkpoint: str
    step: int
    seed: int
    latent_sampler: Any
    latents: str
    labels: str
    ema: NotRequired[float | None]


def sample(options: dict[str, Any]) -> None:
    """Draws the images that the folder does not hold yet, so that a killed command goes on, and more can be asked for.

    Loads the data only for a sampler that reads real images, and for points, which are drawn with real ones.
    """
    engine, root = choose_engine(options["device"]), options["dataset"]["root"]
    trained = open_trained(
        Path(options["checkpoint"]), options["which"], options["trust"], root, engine, options["ema"]
    )
    if not trained.gan.game.objective.generates:
        raise UserError(f"{options['checkpoint']} has no generator, it classifies: score it with gan-eval")
    gan, chosen = of_class(trained.gan, options["labels"]), options["sampler_name"]
    options = options | {"num_images": options["num_images"] or default_count(gan, options["labels"])}
    node = own = trained.config["latent_sampler"]
    if chosen is not None:
        node = on_prior(options["latent_sampler"], own, width_of(gan.latent_sampler, engine.device))
        gan = gan.with_sampler(chosen_sampler(options, gan))
    seed, dtype, shape = options["seed"], trained.dataset.stored, trained.found.image_shape
    latents, codes = arranged(gan, options, options["num_images"], seed)
    labels = "" if options["labels"] is None else f"labels-{options['labels']}"
    drawn: Drawn = {
        "checkpoint": trained.found.state["sha256"],
        "step": trained.found.step,
        "seed": seed,
        "latent_sampler": node,
        "latents": latents,
        "labels": labels,
        "ema": trained.ema,
    }
    words = [trained.name, f"seed-{seed}", *filter(None, [chosen, latents if latents != "random" else "", labels])]
    out = Path(options["out"] or Path(options["outputs"]) / "samples" / "-".join(words))
    check_folder(out, drawn)
    needed = gan.latent_sampler.reads_real(gan.game.objective) or pictures.are_points(shape)
    with showing_work():
        training_set = load_training_set(trained.dataset).to_engine(engine) if needed else None
        with writing(out), alone(out):
            check_folder(out, drawn)
            write_json(out / MANIFEST, drawn)
            if pictures.are_points(shape):
                assert training_set is not None
                numbers, count = block_numbers(options), options["num_images"]
                values = torch.cat(list(images(gan, codes, numbers, count, seed, training_set, dtype)))
                draw_points(out, values[:count], training_set.values, gan, options["latents"])
            else:
                write_images(out, gan, codes, options, training_set, shape)
    print(out)


def of_class(gan: GAN, labels: int | str | None) -> GAN:
    """With images of one class alone, if `labels` is its number; raises UserError for a run that cannot make them."""
    if not gan.game.objective.generates:
        raise UserError("this run trained a classifier: it has no generator to draw images with")
    law = gan.class_law
    if labels is not None and not is_conditional(gan.game.generator):
        raise UserError(f"labels={labels}: this run's generator takes no labels, remove it")
    if labels is None or labels == ALL:
        return gan
    if labels not in range(law.num_classes):
        raise UserError(f"labels={labels} must be {ALL}, or a class from 0 to {law.num_classes - 1}")
    return replace(gan, class_law=ClassLaw(tuple(int(number == labels) for number in range(law.num_classes))))


def default_count(gan: GAN, labels: int | str | None) -> int:
    return NUM_COLUMNS * gan.class_law.num_classes if labels == ALL else NUM_IMAGES


def arranged(gan: GAN, options: dict[str, Any], count: int, seed: int) -> tuple[str, Latents | None]:
    """A name for the arrangement of the images' codes, and the codes; None for the draws of the latent sampler.

    Raises UserError for one that the latent sampler, the width of its codes or the number of images does not allow.
    """
    latents, every_class = options["latents"], options["labels"] == ALL
    if latents == "random" and not every_class:
        return latents, None
    law, engine = gan.class_law, gan.game.engine
    prior, width = gan.latent_sampler.innermost, width_of(gan.latent_sampler, gan.game.engine.device)
    asked = f"labels={ALL}" if every_class else f"latents={latents}"
    if gan.latent_sampler.refines_evaluation:
        alone = type(prior).__module__.rsplit(".", 1)[-1]
        raise UserError(
            f"{asked} takes codes of the prior as they are, and {type(gan.latent_sampler).__name__} changes "
            f"each of them: add latent_sampler={alone}, which is the prior alone"
        )
    if every_class:
        if latents != "random":
            raise UserError(f"labels={ALL} has a code for each column: remove latents={latents}")
        columns, left = divmod(count, law.num_classes)
        if left or columns > BLOCK:
            nearest = min(columns + 1, BLOCK) * law.num_classes
            raise UserError(
                f"labels={ALL} draws {law.num_classes} rows of at most {BLOCK}: num_images={count} could be {nearest}"
            )
        return latents, class_rows(gan, range(law.num_classes), columns, seed)
    if latents == "interpolate":
        codes = paths(gan, count, seed)
        labels = law.labels(range(count // PATH_LENGTH)).repeat_interleave(PATH_LENGTH)  # one on the whole way
        return latents, Latents(codes, labels.to(engine.device))
    if width != 2:
        raise UserError(
            f"latents=grid draws a plane, and these codes have {width} coordinates: use latents=interpolate"
        )
    side = math.isqrt(count)
    if side**2 != count:
        raise UserError(f"latents=grid draws a square: num_images={count} must be one, such as {(side + 1) ** 2}")
    try:
        line = prior.quantile((torch.arange(side) + 0.5) / side).to(gan.game.engine.device)
    except ValueError as error:
        raise UserError(f"latents=grid cannot be drawn: {one_line(error)}") from error
    second, first = torch.meshgrid(line.flip(0), line, indexing="ij")  # the second coordinate grows upwards
    codes = torch.stack([first, second], dim=-1).flatten(0, 1)
    return f"grid-{side}x{side}", Latents(codes, law.labels(range(count)).to(engine.device))


def paths(gan: GAN, count: int, seed: int) -> Codes:
    """Rows of codes: row n leads from the code of the seed's image 2 n to that of image 2 n + 1."""
    rows, left = divmod(count, PATH_LENGTH)
    if left:
        nearest = (rows + 1) * PATH_LENGTH
        raise UserError(f"latents=interpolate draws rows of {PATH_LENGTH}: num_images={count} could be {nearest}")
    prior, game = gan.latent_sampler.innermost, gan.game
    drawn = [draw(prior, number, seed, game) for number in range(-(-2 * rows // BLOCK))]
    ends = torch.cat(drawn)[: 2 * rows]
    return prior.between(ends[::2], ends[1::2], torch.linspace(0, 1, PATH_LENGTH, device=ends.device)).flatten(0, 1)


def check_folder(out: Path, drawn: Drawn) -> None:
    """Raises UserError unless the folder is new, empty, or holds images made from the same."""
    if not is_there(out / MANIFEST):
        free_folder(str(out))
        return
    try:
        held: Drawn = read_json(out / MANIFEST, Drawn)
    except (OSError, ValueError) as error:
        raise UserError(f"{out} cannot be added to ({one_line(error)}): choose another with out=<folder>") from error
    others = [key for key, value in drawn.items() if held.get(key) != value]
    if others:
        raise UserError(f"{out} holds images of another {' and '.join(others)}: choose another with out=<folder>")


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keeps other processes out of the folder."""
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{out} is being written by another process: wait for it, or use out=<folder>") from error


def block_numbers(options: dict[str, Any]) -> range:
    return range(-(-options["num_images"] // BLOCK))


def images(
    gan: GAN,
    codes: Latents | None,
    numbers: Sequence[int],
    count: int,
    seed: int,
    training_set: TrainingSet | None,
    dtype: torch.dtype,
) -> Iterator[Stored]:
    """The blocks of images with these numbers, of the codes or of the latent sampler's own draws."""
    real = None if training_set is None else gan.calibration(training_set)
    with gan.at_rest() as game:
        if codes is None:
            for _, _, values in blocks(game, gan, numbers, count, seed, real, dtype):
                yield values
            return
        for number in track(numbers, "drawing images, block"):
            yield render(game, codes.rows(slice(number * BLOCK, (number + 1) * BLOCK)), dtype)


def write_images(
    out: Path,
    gan: GAN,
    codes: Latents | None,
    options: dict[str, Any],
    training_set: TrainingSet | None,
    shape: tuple[int, int, int],
) -> None:
    """Each image that is not there yet, in order, then the grid of the first ones; grids of codes are shown whole."""
    folder = out / IMAGES
    folder.mkdir(exist_ok=True)
    sweep_partial(folder)
    files = [folder / f"{number:05d}.png" for number in range(options["num_images"])]
    missing = [number for number, file in enumerate(files) if not is_there(file)]
    numbers = sorted({number // BLOCK for number in missing})
    made = images(gan, codes, numbers, len(files), options["seed"], training_set, torch.uint8)
    for first, values in zip((number * BLOCK for number in numbers), made, strict=True):
        for number in missing:
            if first <= number < first + BLOCK:
                pictures.save_image(files[number], values[number - first])
    columns = {"interpolate": PATH_LENGTH, "grid": math.isqrt(len(files)), "random": None}[options["latents"]]
    columns = len(files) // gan.class_law.num_classes if options["labels"] == ALL else columns
    whole = options["latents"] == "grid" or options["labels"] == ALL
    shown = files if whole else files[: pictures.num_in_grid(shape)]
    pictures.save_grid(out / "grid.png", torch.stack([read(file, shape) for file in shown]), columns)


def read(file: Path, shape: tuple[int, int, int]) -> torch.Tensor:
    try:
        return pictures.read_image(file, shape)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{file} is not what was written, remove it to draw it again: {one_line(error)}") from error


def draw_points(out: Path, values: Stored, real: Stored, gan: GAN, latents: str) -> None:
    """Points as rows of points.csv and over the discriminator's score; joined along their paths, or as a net."""
    numbers = torch.arange(len(values))
    lines = None
    if latents == "interpolate":
        lines = numbers.view(-1, PATH_LENGTH)
    elif latents == "grid":
        square = numbers.view(math.isqrt(len(values)), -1)
        lines = torch.cat([square, square.T])
    pictures.write_points(out / "points.csv", values)
    pictures.save_points(out / "grid.png", real, values, scoring(gan), lines)
