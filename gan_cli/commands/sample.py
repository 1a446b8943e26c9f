"""What gan-sample does with checked options: images of a checkpoint, as one grid and one file each."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from typing_extensions import TypedDict

from gan_cli.commands.evaluate import chosen_sampler
from gan_cli.commands.out import IMAGES, MANIFEST, free_folder, writing
from gan_cli.config.build import load_training_set, width_of
from gan_cli.config.nodes import on_prior
from gan_cli.data import TrainingSet
from gan_cli.engine import choose_engine
from gan_cli.errors import UserError, one_line
from gan_cli.evaluation import BLOCK, blocks, draw, render, scoring
from gan_cli.experiment import GAN
from gan_cli.files import is_there, read_json, sweep_partial, write_json
from gan_cli.runs import pictures
from gan_cli.runs.progress import showing_work
from gan_cli.runs.trained import open_trained
from gan_cli.shapes import Codes, Latents, Stored, unlabelled
from gan_cli.work import track

PATH_LENGTH = 8  # images on the way from one code to another, both ends included


class Drawn(TypedDict):
    """sample.json: what every image of a folder is made from; `checkpoint` is the SHA-256 of its tensors."""

    checkpoint: str
    step: int
    seed: int
    latent_sampler: Any
    latents: str


def sample(options: dict[str, Any]) -> None:
    """Draws the images that the folder does not hold yet, so that a killed command goes on, and more can be asked for.

    Loads the data only for a sampler that reads real images, and for points, which are drawn with real ones.
    """
    engine, root = choose_engine(options["device"]), options["dataset"]["root"]
    trained = open_trained(Path(options["checkpoint"]), options["which"], options["trust"], root, engine)
    gan, chosen = trained.gan, options["sampler_name"]
    node = own = trained.config["latent_sampler"]
    if chosen is not None:
        node = on_prior(options["latent_sampler"], own, width_of(gan.latent_sampler, engine.device))
        gan = gan.with_sampler(chosen_sampler(options, gan.latent_sampler.innermost, engine.device))
    seed, dtype, shape = options["seed"], trained.dataset.stored, trained.found.image_shape
    latents, codes = arranged(gan, options["latents"], options["num_images"], seed)
    drawn: Drawn = {
        "checkpoint": trained.found.state["sha256"],
        "step": trained.found.step,
        "seed": seed,
        "latent_sampler": node,
        "latents": latents,
    }
    words = [trained.name, f"seed-{seed}", *filter(None, [chosen]), *([latents] * (codes is not None))]
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
                values = torch.cat(list(images(gan, codes, block_numbers(options), seed, training_set, dtype)))
                draw_points(out, values[: options["num_images"]], training_set.values, gan, options["latents"])
            else:
                write_images(out, gan, codes, options, training_set, shape)
    print(out)


def arranged(gan: GAN, latents: str, count: int, seed: int) -> tuple[str, Codes | None]:
    """A name for the arrangement of the images' codes, and the codes; None for the draws of the latent sampler.

    Raises UserError for one that the latent sampler, the width of its codes or the number of images does not allow.
    """
    if latents == "random":
        return latents, None
    prior, width = gan.latent_sampler.innermost, width_of(gan.latent_sampler, gan.game.engine.device)
    if gan.latent_sampler.refines_evaluation:
        alone = type(prior).__module__.rsplit(".", 1)[-1]
        raise UserError(
            f"latents={latents} takes codes of the prior as they are, and {type(gan.latent_sampler).__name__} changes "
            f"each of them: add latent_sampler={alone}, which is the prior alone"
        )
    if latents == "interpolate":
        return latents, paths(gan, count, seed)
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
    return f"grid-{side}x{side}", torch.stack([first, second], dim=-1).flatten(0, 1)


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
    others = [key for key, value in drawn.items() if held[key] != value]  # type: ignore[literal-required]
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
    codes: Codes | None,
    numbers: Sequence[int],
    seed: int,
    training_set: TrainingSet | None,
    dtype: torch.dtype,
) -> Iterator[Stored]:
    """The blocks of images with these numbers, of the codes or of the latent sampler's own draws."""
    real = None if training_set is None else gan.calibration(training_set)
    with gan.at_rest() as game:
        if codes is None:
            for _, values in blocks(game, gan, numbers, seed, real, dtype):
                yield values
            return
        for number in track(numbers, "drawing images, block"):
            chosen = codes[number * BLOCK :][:BLOCK]
            yield render(game, Latents(chosen, unlabelled(len(chosen), chosen.device)), dtype)


def write_images(
    out: Path,
    gan: GAN,
    codes: Codes | None,
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
    made = images(gan, codes, numbers, options["seed"], training_set, torch.uint8)
    for first, values in zip((number * BLOCK for number in numbers), made, strict=True):
        for number in missing:
            if first <= number < first + BLOCK:
                pictures.save_image(files[number], values[number - first])
    columns = {"interpolate": PATH_LENGTH, "grid": math.isqrt(len(files)), "random": None}[options["latents"]]
    shown = files if options["latents"] == "grid" else files[: pictures.num_in_grid(shape)]
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
