"""Images from the moving average of a generator; their latents depend only on a seed and their number."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from statistics import fmean

import torch

from gan_cli.data import encode
from gan_cli.engine import CPU
from gan_cli.errors import DivergedError
from gan_cli.experiment import GAN
from gan_cli.game import Game, Passes
from gan_cli.isolation import OwnStream
from gan_cli.latent_samplers.calibration import num_at_once
from gan_cli.latent_samplers.latent_sampler import Block, LatentSampler
from gan_cli.metrics.metrics import Scorer, Subject
from gan_cli.networks import is_conditional
from gan_cli.ranks import each, sharing
from gan_cli.seeding import mix
from gan_cli.shapes import Codes, Examples, Images, Labels, Latents, Logits, Refined, Scores, Stored, unlabelled
from gan_cli.work import track

BLOCK = 256  # images made at a time; fixed, so that images do not depend on the batch size
PASSES_TOLD = 100_000  # fewer take seconds


@dataclass(frozen=True)
class SamplingCost:
    """The total seconds; and per image the passes (including the one that makes it) and the gradient calls."""

    seconds: float
    generator_passes: float
    discriminator_passes: float
    gradient_calls: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Generated:
    """Images, stored like real ones, on the engine's device if they fit; and their codes and labels, on the CPU."""

    values: Stored
    refined: Refined
    labels: Labels
    cost: SamplingCost


def generate(gan: GAN, count: int, seed: int, real: Examples | None, dtype: torch.dtype) -> Generated:
    """The first `count` images of the given seed, stored like real ones.

    `real` is a calibration batch for latent samplers that read one. Raises DivergedError for images that are
    not finite.
    """
    if not count:
        values, codes = torch.empty(0, 0, 0, 0, dtype=dtype), torch.empty(0, 0)
        return Generated(values, Refined(codes, codes), unlabelled(0), SamplingCost(0.0, 0.0, 0.0, 0.0))
    engine, started, home = gan.game.engine, time.perf_counter(), CPU
    ranks = sharing.get()

    def parts_of(numbers: Sequence[int]) -> list[tuple[Stored, Codes, Latents]]:
        nonlocal home
        found: list[tuple[Stored, Codes, Latents]] = []
        for block, latents, stored in blocks(game, gan, numbers, count, seed, real, dtype):
            room = 2 * count * stored[0].nbytes  # twice: the blocks, and all in one
            if not found and ranks.size == 1 and engine.holds(room):
                home = engine.device
            found.append((stored.to(home), block.latents.codes.to(CPU), latents.to(CPU)))
        return found

    with gan.at_rest() as game:
        parts, drawn, chosen = zip(*each(range(-(-count // BLOCK)), parts_of), strict=True)
        made = sum(map(len, parts))
        passes = [sum(each_rank) for each_rank in zip(*ranks.told_by_all(astuple(game.passes)), strict=True)]
        cost = SamplingCost(time.perf_counter() - started, *(count / made for count in passes))
    latents = Latents.cat(chosen).rows(slice(count))
    return Generated(torch.cat(parts)[:count], Refined(torch.cat(drawn)[:count], latents.codes), latents.labels, cost)


@dataclass(frozen=True)
class Scored:
    """Means of scores over evaluation seeds, by metric, and if there are several those of each; and the first images.

    A metric has a mean if it has a finite score from every seed.
    """

    made: Generated
    subject: Subject  # the first
    metrics: dict[str, float]
    repeats: dict[str, list[float]]


def score_seeds(
    gan: GAN,
    scorer: Scorer,
    seeds: Sequence[int],
    count: int,
    real: Examples | None,
    dtype: torch.dtype,
    num_drawn: int = 0,
) -> Scored:
    """The scores of `count` images from each seed; of the first at least `num_drawn` images are made.

    Image n has the same label in all of them.
    """
    classify = classifying(gan)
    found, first = [], None
    for seed in seeds:
        made = generate(gan, count if first else max(count, num_drawn), seed, real, dtype)
        subject = Subject(made.values[:count], made.labels[:count], classify, seed, made.refined.first(count))
        first = first or (made, subject)
        found.append(scorer.score(subject))
    assert first is not None
    each = {name: [scores.get(name, math.nan) for scores in found] for name in found[0]}
    whole = {name: scores for name, scores in each.items() if all(map(math.isfinite, scores))}
    means = {name: fmean(scores) for name, scores in whole.items()}
    return Scored(*first, means, whole if len(seeds) > 1 else {})


def blocks(
    game: Game, gan: GAN, numbers: Sequence[int], count: int, seed: int, real: Examples | None, dtype: torch.dtype
) -> Iterator[tuple[Block, Latents, Stored]]:
    """The blocks with these numbers, each with its latents and images; a block depends on nothing but its number.

    Images from number `count` on may be missing.
    """
    wanted = {number: min(BLOCK, count - number * BLOCK) for number in numbers}
    passes = gan.latent_sampler.passes(sum(wanted.values()))
    cost = f" by {passes / 1e6:.1f} million passes of both networks" if passes >= PASSES_TOLD else ""
    torch.manual_seed(mix("fit", seed))
    fitted = gan.latent_sampler.fitted(game, real)
    joined = num_joined(fitted, game)
    for first in track(range(0, len(numbers), joined), f"sampling images{cost}, block"):
        started = [begin(fitted, gan, game, number, seed, wanted[number]) for number in numbers[first : first + joined]]
        for block, latents in zip(started, fitted.for_blocks(game, started, real), strict=True):
            with block.stream:
                stored = render(game, latents, dtype)
            yield block, latents, stored


def begin(sampler: LatentSampler, gan: GAN, game: Game, number: int, seed: int, wanted: int) -> Block:
    """A block of the prior's own draws, and the rest of its random stream."""
    stream = OwnStream(mix("evaluation", seed, number), game.engine)
    with stream:
        codes = sampler.sample(BLOCK, game.engine.device)
    labels = gan.class_law.labels(range(number * BLOCK, (number + 1) * BLOCK)).to(codes.device)
    return Block(Latents(codes, labels), stream, wanted)


def num_joined(sampler: LatentSampler, game: Game) -> int:
    """How many blocks are refined at once: they change with it no more than by rounding."""
    if not sampler.joins_blocks:
        return 1
    device = game.engine.device
    one = Latents(sampler.sample(1, device), unlabelled(1, device).clamp(min=0))
    with torch.no_grad():
        values = replace(game, passes=Passes()).generate(one).images.numel()
    return max(1, num_at_once(values, device) // BLOCK)


def draw(sampler: LatentSampler, number: int, seed: int, game: Game) -> Codes:
    """The prior's own draws for one block."""
    torch.manual_seed(mix("evaluation", seed, number))
    return sampler.sample(BLOCK, game.engine.device)


def render(game: Game, latents: Latents, dtype: torch.dtype) -> Stored:
    """The images of these latents, stored like real ones; raises DivergedError for images that are not finite."""
    with torch.no_grad():
        images = game.generate(latents).images
    if not images.isfinite().all():
        raise DivergedError("generated images are not finite: the generator or its latent sampler diverged")
    return encode(images, dtype)


def scoring(gan: GAN) -> Callable[[Images], Scores] | None:
    """The discriminator's score of images on the CPU, without a gradient.

    None if it depends on their labels, or without a discriminator.
    """
    if is_conditional(gan.game.discriminator) or not gan.game.objective.judges:
        return None

    def score(images: Images) -> Scores:
        shown = Examples(images, unlabelled(len(images))).to(gan.game.engine.device)
        with gan.at_rest() as game, torch.no_grad():
            return game.score(shown).cpu()

    return score


def classifying(gan: GAN) -> Callable[[Images], Logits] | None:
    """Images on the engine's device to class logits, differentiable; None if the discriminator has none."""
    if not gan.game.classifies:
        return None

    def classify(images: Images) -> Logits:
        """A network that takes labels as well is given class 0: its class logits do not depend on it."""
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        with gan.at_rest() as game:
            class_logits = game.outputs(Examples(images, labels)).class_logits
        assert class_logits is not None
        return class_logits

    return classify


def class_rows(gan: GAN, classes: Sequence[int], columns: int, seed: int) -> Latents:
    """A row for each class, of at most `BLOCK` columns; a column has the same code in every row.

    The codes are the prior's own draws.
    """
    codes = draw(gan.latent_sampler.innermost, 0, seed, gan.game)[:columns]
    labels = torch.tensor(classes, device=codes.device).repeat_interleave(len(codes))
    return Latents(codes.repeat(len(classes), 1), labels)


def class_grid(gan: GAN, classes: Sequence[int], columns: int, seed: int, dtype: torch.dtype) -> Stored:
    """The images of `class_rows`."""
    with gan.at_rest() as game:
        return render(game, class_rows(gan, classes, columns, seed), dtype)


def snapshot(gan: GAN, count: int, seed: int, dtype: torch.dtype) -> Stored:
    """Images as the generator itself makes them while it trains, for a picture; what is not finite is 0."""
    torch.manual_seed(mix("snapshot", seed))
    device = gan.game.engine.device
    latents = Latents(gan.latent_sampler.sample(count, device), gan.class_law.labels(range(count)).to(device))
    with torch.no_grad(), gan.game.isolated("snapshot"):
        images = gan.game.generate(latents).images
    return encode(images.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0), dtype).cpu()
