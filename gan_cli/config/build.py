"""Builds objects from a config; no other file does.

Shapes flow one way: the data set fixes the image shape, the latent sampler the latent width, the objective the number
of outcomes, and the networks get all three.
"""

import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor, nn

from gan_cli.augmentations.augmentation import Augmentation
from gan_cli.capture import obstacles
from gan_cli.conditioning.conditioning import DiscriminatorLabels, GeneratorLabels, UnlabelledDiscriminator
from gan_cli.config.check import (
    NUM_CLASSES,
    SETTINGS,
    SETTINGS_BEFORE,
    as_pair,
    engine_of,
    find_class,
    with_schedules,
)
from gan_cli.config.nodes import Config
from gan_cli.data import ClassLaw, TrainingSet
from gan_cli.datasets.dataset import Dataset, Probed
from gan_cli.engine import Engine, EngineSettings
from gan_cli.errors import EndError, UserError, one_line, own_code
from gan_cli.experiment import GAN, Experiment, Player, RunSettings
from gan_cli.game import Game
from gan_cli.isolation import random_stream
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.metrics.metrics import Scorer, WeightsUnavailableError
from gan_cli.networks import embeds, has_weights, is_conditional, keep_head_in_float32, predicts_classes
from gan_cli.objectives.objective import Objective
from gan_cli.part import nested
from gan_cli.regularizers.classification import OfClasses
from gan_cli.regularizers.regularizer import Bound, Regularizer
from gan_cli.schedule import LAST_STEP, value_at
from gan_cli.seeding import mix
from gan_cli.shapes import Latents
from gan_cli.trackers import Tracker
from gan_cli.turns import PlayTurn, classifier_turn, discriminator_turn, generator_turn

WRONG_VALUE = (InstantiationException, ValueError, TypeError, RuntimeError, MemoryError, OverflowError)


def build_experiment(config: Config, engine: Engine) -> Experiment:
    """Loads the data and builds everything else, on the engine's device; `engine` in the config says how it computes.

    Raises UserError if parts do not fit together.
    """
    engine = engine.with_settings(engine_settings(config))
    build_settings(config)  # raises before the data is loaded
    dataset = build_dataset(config)
    return assemble(config, engine, dataset, load_training_set(dataset))


def assemble(config: Config, engine: Engine, dataset: Dataset, training_set: TrainingSet) -> Experiment:
    """`build_experiment` with these images, on an engine that has its settings."""
    settings = build_settings(config)
    check_batch_sizes(config, len(training_set))
    check_parts_of_batches(settings, engine)
    bounds = build_bounds(config, engine)
    gan = build_gan(config, training_set.image_shape, training_set.class_counts, engine, bounds)
    check_labels(gan.game, training_set)
    training_set = training_set.to_engine(engine)
    gan = replace(gan, game=replace(gan.game, joins=gan.game.judges_alone(training_set.batch(torch.arange(2)))))
    if engine.compile:
        real = training_set.batch(torch.arange(settings.batch_size))
        latents = Latents(gan.latent_sampler.sample(len(real), real.device), real.labels)
        gan = replace(gan, game=gan.game.compiling(latents, real))
    players = build_players(config, gan.game, settings)
    warn_of_unused(bounds, {player.name: settings.steps * player.num_turns for player in players})
    labelled = labelled_rows(settings, gan.game.objective, training_set)
    experiment = Experiment(gan, players, bounds, dataset, training_set, settings, labelled)
    if settings.accumulate > 1:
        check_parts_of_turns(experiment)
    if engine.capture is True:
        for reason in obstacles(experiment):
            raise UserError(f"engine.capture=true, but {reason}: set engine.capture=auto")
    return experiment


def check_labels(game: Game, training_set: TrainingSet) -> None:
    """Raises UserError for data without the labels that a network or the objective reads."""
    if game.objective.logits_are_classes and not training_set.num_classes:
        name = type(game.objective).__name__
        raise UserError(f"the data set has no labels, which {name} learns from: choose another objective or data set")
    if (predicts_classes(game.discriminator) or embeds(game.discriminator)) and not training_set.num_classes:
        raise UserError("the data set has no labels, which the discriminator learns: set conditioning=none")
    if game.conditional and training_set.labels.min() < 0:
        which = "has images without a label" if training_set.num_classes else "has no labels"
        raise UserError(f"the data set {which}, and a network takes one for each image: set conditioning=none")


def labelled_rows(settings: RunSettings, objective: Objective, training_set: TrainingSet) -> Tensor | None:
    """The rows of images with a label, on the CPU, if they have batches of their own."""
    if settings.labelled_batch_size is None:
        return None
    if objective.supervised_loss(torch.zeros(1, max(1, training_set.num_classes)), torch.zeros(1).long()) is None:
        name = type(objective).__name__
        raise UserError(f"{name} reads no labels: remove labelled_batch_size={settings.labelled_batch_size}")
    return (training_set.labels >= 0).nonzero().flatten().cpu()


def check_batch_sizes(config: Config, num_images: int) -> None:
    """Raises UserError for a batch that the data set cannot fill."""
    for name in ("batch_size", "generator_batch_size"):
        if (config[name] or 0) > num_images:
            raise UserError(f"{name}={config[name]} is more than the {num_images} images of the data set: lower it")


def check_parts_of_batches(settings: RunSettings, engine: Engine) -> None:
    """Raises UserError for a batch that processes, and parts of their turns, cannot share equally."""
    size = engine.ranks.size * settings.accumulate
    among = f"{engine.ranks.size} processes" if engine.ranks.size > 1 else ""
    among += " with " * (engine.ranks.size > 1 < settings.accumulate)
    among += f"accumulate={settings.accumulate}" if settings.accumulate > 1 else ""
    for name in ("batch_size", "generator_batch_size", "labelled_batch_size"):
        batch, fewest = getattr(settings, name), 1 if name == "labelled_batch_size" else 2
        if batch is not None and (batch % size or batch < fewest * size):
            nearest = max(fewest, round(batch / size)) * size
            raise UserError(f"{name}={batch} cannot be shared equally by {among}: set {name}={nearest}")


def check_parts_of_turns(experiment: Experiment) -> None:
    """Raises UserError where the parts of a batch have other gradients than the whole batch."""
    remedy = f"set accumulate=1, not {experiment.settings.accumulate}"
    for part in experiment.leaves:
        if part.compares_images:
            raise UserError(f"{type(part).__name__} reads the whole batch at once: {remedy}, or do without it")
    labels = experiment.training_set.labels
    of_labels = [bound for bound in experiment.bounds.values() if isinstance(bound, OfClasses)]
    learns = experiment.game.objective.supervised_loss(torch.zeros(1, 2), torch.zeros(1).long()) is not None
    if experiment.labelled is None and (of_labels or learns) and bool((labels < 0).any()):
        raise UserError(f"parts of a batch have different numbers of labels: {remedy}, or set labelled_batch_size")


def check_parts(config: Config, image_shape: tuple[int, int, int]) -> None:
    """Raises UserError if the parts do not fit these images or each other; no weight is allocated.

    What cannot be built without values is built with them. Two classes stand for those of the data, which only a load
    can count.
    """
    meta = Engine(torch.device("meta"))
    try:
        with meta.device:
            build_parts(config, image_shape, meta)
    except Exception:
        build_parts(config, image_shape, Engine())


def build_parts(config: Config, image_shape: tuple[int, int, int], engine: Engine) -> None:
    gan = build_gan(config, image_shape, (1, 1), engine, build_bounds(config, engine))
    build_players(config, gan.game, build_settings(config))


def build_settings(config: Config) -> RunSettings:
    known = SETTINGS_BEFORE | config
    return RunSettings(**{name: with_schedules(known[name]) for name in SETTINGS})


def engine_settings(config: Config) -> EngineSettings:
    return EngineSettings(**engine_of(config))


def build_dataset(config: Config) -> Dataset:
    dataset: Dataset = build("dataset", config["dataset"])
    return dataset


def load_training_set(dataset: Dataset) -> TrainingSet:
    """The images with their digest; a toy mixture's points have none, their last bits depend on the processor."""
    with refusing("the data set cannot be loaded"):
        training_set = dataset.load()
        return training_set if training_set.modes is not None else training_set.identified()


def probe(dataset: Dataset) -> Probed:
    """What is known of the images without loading them; raises UserError if they are missing."""
    with refusing("the data set cannot be loaded"):
        return dataset.probe()


def build_scorer(
    dataset: Dataset, training_set: TrainingSet, num_fake: int, *, conditional: bool = False
) -> tuple[Scorer | None, str]:
    """The scorer, or None and the reason why its weights are unavailable; raises UserError for wrong weights.

    `conditional` says whether the images that it will score have labels: only then it is given those of the real ones.
    """
    real = training_set if conditional else training_set.without_labels()
    try:
        if dataset.metrics.reads_held_out or (dataset.metrics.compares_held_out and dataset.holds_out):
            real = replace(real, held_out=dataset.held_out())
        return dataset.metrics.against(real, num_fake), ""
    except WeightsUnavailableError as error:
        return None, one_line(error)
    except ValueError as error:
        raise UserError(one_line(error)) from error


def build_scorer_or_other(
    config: Config, dataset: Dataset, training_set: TrainingSet, num_fake: int, *, conditional: bool = False
) -> tuple[Config, Dataset, Scorer | None, str]:
    """`build_scorer`, of a new run or of images: with the extractor `otherwise` if the weights are unavailable.

    Returns the config and the data set with the extractor that is used; a warning says that it is another one.
    """
    scorer, unavailable = build_scorer(dataset, training_set, num_fake, conditional=conditional)
    other = with_other_extractor(config)
    if scorer is not None or other is None:
        return config, dataset, scorer, unavailable
    instead = build_dataset(other)
    scorer, also_unavailable = build_scorer(instead, training_set, num_fake, conditional=conditional)
    if scorer is None:
        return config, dataset, None, f"{unavailable}; {also_unavailable}"
    warnings.warn(f"scoring with another network, as {scorer.leading}: {unavailable}", stacklevel=2)
    return other, instead, scorer, ""


def with_other_extractor(config: Config) -> Config | None:
    """The config with the extractor `otherwise` in place of its own, if that names one."""
    dataset = config["dataset"]
    extractor = dataset["metrics"].get("extractor", {})
    if extractor.get("otherwise") is None:
        return None
    return config | {"dataset": dataset | {"metrics": dataset["metrics"] | {"extractor": extractor["otherwise"]}}}


def check_scorer(scorer: Scorer | None, gan: GAN, num_evaluation_seeds: int = 1) -> None:
    """Raises UserError for metrics of images that nothing generates, or of classes that nothing predicts.

    And for several seeds of images that are not read.
    """
    if scorer is None:
        return
    if num_evaluation_seeds > 1 and not scorer.reads_images:
        raise UserError(
            f"num_evaluation_seeds={num_evaluation_seeds} is of generated images, and {scorer.leading} scores none: "
            "set num_evaluation_seeds=1"
        )
    if scorer.reads_images and not gan.game.objective.generates:
        raise UserError(
            f"{scorer.leading} scores generated images, and {type(gan.game.objective).__name__} has no generator: set "
            "metrics@dataset.metrics=classification"
        )
    if not scorer.reads_images and not gan.game.classifies:
        raise UserError(
            f"{scorer.leading} reads class logits, which the discriminator does not have: set objective=classification "
            "or semi_supervised, or discriminator_labels=auxiliary"
        )


def build_gan(
    config: Config,
    image_shape: tuple[int, int, int],
    class_counts: Sequence[int],
    engine: Engine,
    bounds: Mapping[str, Bound],
) -> GAN:
    """Both networks with their initial weights, which depend only on the seed, and the other parts of their game.

    `class_counts` are the images of each class, none without labels; `bounds` may impose constraints on the networks.
    """
    num_classes = max(1, len(class_counts))
    torch.manual_seed(mix("init", config["seed"]))
    latent_sampler = build("latent_sampler", config["latent_sampler"])
    objective = build("objective", config["objective"], num_classes=num_classes)
    with refusing("objective"):
        objective.prepare(image_shape)
    augmentation = build("augmentation", config["augmentation"])
    for _, part in nested("augmentation", augmentation):
        if isinstance(part, Augmentation):
            with refusing("augmentation"):
                part.prepare(image_shape, objective)
    latent_dim = width_of(latent_sampler, torch.device("cpu"))
    model = config["model"]

    def build_generator(width: int) -> nn.Module:
        given = {"latent_dim": width, "image_shape": image_shape, "num_classes": num_classes}
        return build("model.generator", model["generator"], **given)

    def build_discriminator(shape: tuple[int, int, int], width: int) -> nn.Module:
        given = {"image_shape": shape, "num_outcomes": width, "num_classes": num_classes}
        return build("model.discriminator", model["discriminator"], **given)

    of_generator: GeneratorLabels = build("generator_labels", config["generator_labels"])
    of_discriminator: DiscriminatorLabels = build("discriminator_labels", config["discriminator_labels"])
    with refusing("generator_labels"):
        generator = of_generator.wrap(build_generator, latent_dim, num_classes)
    check_discriminator(model["discriminator"], of_discriminator, objective)
    with refusing("discriminator_labels"):
        discriminator = objective.head(
            lambda width: of_discriminator.wrap(build_discriminator, image_shape, width, num_classes)
        )
    if objective.generates != has_weights(generator):
        remedy = "needs a generator, and the model has none" if objective.generates else "trains no generator"
        raise UserError(f"{type(objective).__name__} {remedy}: choose another objective or model")
    if objective.logits_are_classes and is_conditional(discriminator):
        name = type(objective).__name__
        raise UserError(f"{name} predicts the labels that the discriminator is given: set discriminator_labels=none")
    if engine.sync_batch_norm:
        generator, discriminator = map(nn.SyncBatchNorm.convert_sync_batchnorm, (generator, discriminator))
    networks = {"generator": generator, "discriminator": discriminator}
    for name, bound in bounds.items():
        if bound.player not in objective.players:
            raise UserError(f"regularizer.{name} is of the {bound.player}, and the run trains none: remove it")
        with refusing(f"regularizer.{name}"):
            bound.impose(networks[bound.player])
    ema_generator = copy.deepcopy(generator).eval().requires_grad_(False)
    generator, discriminator, ema_generator = (
        to_device(network, engine) for network in (generator, discriminator, ema_generator)
    )
    if engine.precision == "bfloat16":
        keep_head_in_float32(discriminator, engine.device.type)
    for leaf in (latent_sampler, objective, augmentation):
        state_to_device(leaf, engine)
    check_sampler(latent_sampler, objective)
    game = Game(generator, discriminator, objective, augmentation, engine)
    for name, bound in bounds.items():
        with refusing(f"regularizer.{name}"):
            bound.check(game)
    return GAN(game, ema_generator, latent_sampler, ClassLaw(tuple(class_counts) if game.conditional else ()))


def check_discriminator(node: Config | None, labels: DiscriminatorLabels, objective: Objective) -> None:
    """Raises UserError for a discriminator that the objective does not train, or for none where it trains one."""
    name = type(objective).__name__
    if objective.judges and node is None:
        raise UserError(f"{name} trains a discriminator, and model.discriminator is null: choose another objective")
    if not objective.judges and node is not None:
        raise UserError(f"{name} trains no discriminator: set model.discriminator=null")
    if not objective.judges and not isinstance(labels, UnlabelledDiscriminator):
        raise UserError(f"{name} trains no discriminator to be given labels: set discriminator_labels=none")


def check_sampler(sampler: LatentSampler, objective: Objective) -> None:
    """Raises UserError for a sampler that reads a discriminator, if none is trained."""
    for path, part in nested("latent_sampler", sampler):
        if isinstance(part, LatentSampler) and part.reads_discriminator and not objective.judges:
            name = type(objective).__name__
            raise UserError(
                f"{path}: {type(part).__name__} reads a discriminator, and {name} trains none: choose another sampler"
            )


def width_of(sampler: LatentSampler, device: torch.device) -> int:
    """The width of its codes; the draw that shows it leaves the random state as it was."""
    with random_stream("width", Engine(device)), refusing("latent_sampler"):
        return sampler.sample(1, device).shape[1]


def build_sampler(node: Config, prior: LatentSampler, device: torch.device) -> LatentSampler:
    """The sampler with `prior` under all its refinements; a sampler that is itself a prior gets its width."""
    own = {key: value for key, value in node.items() if key not in ("prior", "latent_dim")}
    given: dict[str, Any] = {}
    if "prior" in node:
        given["prior"] = build_sampler(node["prior"], prior, device) if "prior" in node["prior"] else prior
    if "latent_dim" in node:
        given["latent_dim"] = width_of(prior, device)
    sampler: LatentSampler = build("latent_sampler", own, **given)
    return sampler


def build_trackers(nodes: Config) -> dict[str, Tracker]:
    return {name: build(f"tracker.{name}", node) for name, node in nodes.items()}


def to_device(network: nn.Module, engine: Engine) -> nn.Module:
    """The network on the device, with channels last in memory, the fastest layout for convolutions."""
    return network.to(engine.device).to(memory_format=torch.channels_last)


def state_to_device(leaf: object, engine: Engine) -> None:
    for _, part in nested("", leaf):
        if isinstance(part, nn.Module):
            part.to(engine.device)


def build_bounds(config: Config, engine: Engine) -> dict[str, Bound]:
    bounds: dict[str, Bound] = {
        name: build(f"regularizer.{name}", node) for name, node in config["regularizer"].items()
    }
    for bound in bounds.values():
        state_to_device(bound, engine)
    return bounds


def build_imposed(config: Config, engine: Engine) -> dict[str, Bound]:
    """Only those that change a network before it is trained: what it takes to load one."""
    named = config["regularizer"].items()
    classes: dict[str, Any] = {name: find_class(f"regularizer.{name}", node["_target_"]) for name, node in named}
    imposed = {name: node for name, node in named if classes[name].impose is not Bound.impose}
    return build_bounds(config | {"regularizer": imposed}, engine)


def warn_of_unused(bounds: Mapping[str, Bound], turns: Mapping[str, int]) -> None:
    for name, bound in bounds.items():
        if isinstance(bound, Regularizer) and bound.every > turns[bound.player]:
            warnings.warn(
                f"regularizer.{name}.every={bound.every} is more than the {turns[bound.player]} turns of the run: "
                "it is never added",
                stacklevel=2,
            )


def build_players(config: Config, game: Game, settings: RunSettings) -> list[Player]:
    """Those of the objective, in the order of their turns."""
    size, objective = settings.batch_size, game.objective
    turn_of_discriminator = discriminator_turn if objective.generates else classifier_turn
    known: dict[str, tuple[nn.Module, PlayTurn, int, int]] = {
        "discriminator": (game.discriminator, turn_of_discriminator, settings.discriminator_steps, size),
        "generator": (
            *(game.generator, generator_turn),
            *(settings.generator_steps, settings.generator_batch_size or size),
        ),
    }
    return [build_player(name, config, *known[name]) for name in objective.players]


def build_player(
    name: str, config: Config, network: nn.Module, play: PlayTurn, num_turns: int, batch_size: int
) -> Player:
    """The player with its optimizer; settings with a schedule have their value at step 0."""
    path = f"{name}_optimizer"
    node = {key: as_pair(with_schedules(value)) for key, value in config[path].items()}
    start, end = ({key: plain(value_at(value, step)) for key, value in node.items()} for step in (0, LAST_STEP))
    build(path, end, params=[nn.Parameter(torch.zeros(1))])  # refuses what a schedule ends in
    if "momentum" in start and start["momentum"] == 0 != end["momentum"]:
        raise UserError(f"{path}.momentum must start above 0: torch keeps no momentum that starts with none")
    optimizer = build(path, start, params=network.parameters())
    schedules = [
        (number, key, value)
        for key, value in node.items()
        if value_at(value, 0) != value
        for number, group in enumerate(optimizer.param_groups)
        if group[key] == optimizer.defaults[key]  # other groups have their own setting
    ]
    return Player(name, network, optimizer, play, num_turns, batch_size, schedules)


def plain(value: Any) -> Any:
    """A value as torch takes it: it refuses betas that mix int and float, as [0, 0.9] in YAML does."""
    return tuple(map(float, value)) if isinstance(value, tuple) else value


def build(path: str, node: Mapping[str, Any], **given: Any) -> Any:
    """One object from one node and further arguments; raises UserError if the class refuses a value.

    The number of classes is given only to a class that asks for it.
    """
    with refusing(path):
        make = instantiate(with_schedules(node), _partial_=True, _convert_="object")
        if NUM_CLASSES in given and NUM_CLASSES not in inspect.signature(make.func).parameters:
            del given[NUM_CLASSES]
        return make(**given)


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turns an error of a part into a UserError: any error of the user's own code, with its place, but only those of
    ours that mean a wrong value."""
    try:
        yield
    except EndError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        place = own_code(cause)
        if not place and not isinstance(error, WRONG_VALUE):
            raise
        told = f"{type(cause).__name__}: {one_line(cause)} ({place})" if place else one_line(cause)
        raise UserError(f"{what}: {told}") from error
