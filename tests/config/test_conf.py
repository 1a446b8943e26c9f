"""Every YAML composes, instantiates and names exactly its target's parameters; every combination trains."""

import inspect
import typing
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.errors import ConfigCompositionException
from hydra.utils import get_class
from torch import nn
from torch.optim import Optimizer

from gan_cli.config.build import build_bounds, build_gan
from gan_cli.config.check import NUM_CLASSES, SHAPES
from gan_cli.config.compose import CONF
from gan_cli.config.nodes import targets
from gan_cli.config.overrides import placed
from gan_cli.config.read import config_of, read_config
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.experiment import Experiment, RunSettings
from gan_cli.objectives import fgan
from gan_cli.trainer import train

from ..conftest import A_CLASSIFIER, EVERY_LABEL, TINY, TINY_MLP, composed_config, tiny_data
from ..pairwise import every_third_quick, every_three

Build = Callable[..., Experiment]


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


GROUPS = sorted(
    {path.parent.name for path in CONF.glob("*/*.yaml")} - {"study", "tracker", "attack"}
)  # not of a run's config
PLACES = {  # else: as the group
    "metrics": "metrics@dataset.metrics",
    "optimizer": "optimizer@generator_optimizer",
    "features": "features@objective.features",
}
EVERY = [(group, choice) for group in GROUPS for choice in choices(group)]
CLASSIFIERS = ("classifier", "conv_large")  # models without a generator
NEEDS = {
    name: ["dataset.root=."] for name in ("image_folder", "realness_ffhq1024", "r3gan_ffhq64", "r3gan_ffhq256")
}  # what a choice cannot do without
READ = {"classification": "auxiliary", "contrastive": "contrastive", "d2d_ce": "d2d_ce"}  # regularizers of a head
NEEDS |= {f"{player}{name}": [f"discriminator_labels={READ[name]}"] for name in READ for player in ("", "generator_")}
NOT_OF_A_CLASSIFIER = {"gradient_penalty", "r2", "mode_seeking", "feature_matching"}  # they read generated images
NOT_OF_A_CLASSIFIER |= {"r2_fd", "logit_centering", "lecam", "zcr", "latent_distance", "unit_direction", "path_length"}
NOT_OF_A_CLASSIFIER |= {"generator_spectral_norm"}
NOT_OF_A_CLASSIFIER |= {name for name in NEEDS if name.endswith(tuple(READ))}
NEEDS |= {"latent_distance": ["latent_sampler=logan"], "unit_direction": ["objective=san"]}
NEEDS |= {"path_length": ["model=stylegan2"]}
NEEDS |= {"entropy_minimisation": ["discriminator_labels=auxiliary"]}
NEEDS |= {f"model/{name}": ["objective=classification"] for name in CLASSIFIERS}
NEEDS |= {"model/shifted": ["latent_dim=2"]}
NEEDS |= {"objective/classification": ["model=classifier"], "metrics/classification": []}
NEEDS |= {f"features/{name}": ["objective=drifting"] for name in choices("features")}


def needs(group: str, choice: str) -> list[str]:
    return NEEDS.get(f"{group}/{choice}", NEEDS.get(choice, []))


@pytest.mark.parametrize(("group", "choice"), every_third_quick(EVERY, thirds=2))
def test_every_choice_composes_and_names_exactly_its_targets_parameters(group: str, choice: str) -> None:
    config, _ = read_config(composed_config(f"{PLACES.get(group, group)}={choice}", *needs(group, choice)))
    for path, node in targets(config):
        target = get_class(node["_target_"])
        if issubclass(target, Optimizer):
            continue
        parameters = inspect.signature(target).parameters
        from_code = {NUM_CLASSES} | (SHAPES if "model." in path else set())
        named = {key for key in node if not key.startswith("_")} | (from_code & set(parameters))
        assert named == set(parameters), path
        defaults = {name for name, parameter in parameters.items() if parameter.default is not inspect.Parameter.empty}
        assert defaults <= {"every", "real_target"}, f"{target.__name__} has defaults in Python"


@pytest.mark.slow
@pytest.mark.parametrize(("group", "choice"), EVERY)
def test_every_choice_instantiates(group: str, choice: str) -> None:
    config, _ = read_config(composed_config(f"{PLACES.get(group, group)}={choice}", *needs(group, choice)))
    toy = config["model"]["generator"]["_target_"].startswith(("gan_cli.models.mlp", "gan_cli.models.shifted"))
    engine = Engine()
    gan = build_gan(config, (2, 1, 1) if toy else (1, 32, 32), [1, 1], engine, build_bounds(config, engine))
    assert isinstance(gan.game.generator, nn.Module)


IMAGES = {  # image_size, channels, resize, metrics, and splits or other keys of its own
    "celeba": (64, 3, "lanczos", "inception", {"name", "root", "split", "download"}),
    "cifar10": (32, 3, "lanczos", "inception", {"name", "root", "split", "download"}),
    "cifar100": (32, 3, "lanczos", "inception", {"name", "root", "split", "download"}),
    "fashion_mnist": (32, 1, "bilinear", "inception", {"name", "root", "split", "download"}),
    "image_folder": (64, 3, "lanczos", "inception_and_precision", {"root", "subfolder"}),
    "imagenet": (64, 3, "lanczos", "inception", {"name", "root", "split", "download"}),
    "lsun": (64, 3, "lanczos", "inception", {"name", "root", "split", "download"}),
    "mnist": (32, 1, "bilinear", "mnist", {"name", "root", "split", "download"}),
    "stacked_mnist": (
        *(32, 1, "bilinear", "stacked_mnist"),
        {"name", "root", "split", "download", "num_images", "stack_seed"},
    ),
    "svhn": (32, 3, "lanczos", "inception", {"name", "root", "split", "download"}),
    "stl10": (48, 3, "lanczos", "inception", {"name", "root", "split", "download"}),
}
COMMON: dict[str, object] = {
    "crop": "center",
    "crop_size": None,
    "horizontal_flip": False,
    "dequantize": False,
    "on_corrupt": "error",
}
COMMON |= {"max_pixels": 89_478_485, "verify": False}


@pytest.mark.parametrize("choice", every_third_quick(choices("dataset"), of_one_value=True))
def test_data_sets_are_what_they_were_before_they_shared_a_base(choice: str) -> None:
    node = read_config(composed_config(f"dataset={choice}", *NEEDS.get(choice, [])))[0]["dataset"]
    metrics = {"digits": "digits", "line": "gaussian_fit", "stacked_digits": "stacked_digits"}.get(choice, "modes")
    if choice in IMAGES:
        size, channels, resize, metrics, own = IMAGES[choice]
        settings = {"image_size": size, "channels": channels, "resize": resize, "limit": None} | COMMON
        assert settings.items() <= node.items()
        assert set(node) == {"_target_", "metrics", *own, *settings, *EVERY_LABEL}
        assert node.get("name", choice) == choice.removeprefix("stacked_")
    if choice == "digits" or choice in IMAGES:
        assert EVERY_LABEL.items() <= node.items()
    by_itself = composed_config("metrics@dataset.metrics=" + metrics).dataset.metrics
    assert node["metrics"] == by_itself


def test_the_base_of_image_data_sets_is_no_choice() -> None:
    assert choices("dataset") == sorted([*IMAGES, "digits", "ring", "grid", "grid3", "line", "stacked_digits"])
    assert choices("metrics") == [
        *("attacked", "classification", "clip", "digits", "dinov2", "efficientnet_lite0", "gaussian_fit", "inception"),
        *("inception_and_precision", "mnist", "modes", "stacked_digits", "stacked_mnist"),
    ]
    with pytest.raises(ConfigCompositionException):
        composed_config("images=images")
    with pytest.raises(ConfigCompositionException):
        composed_config("labels=labels")


# Files that several choices use.
SHARED = (
    "calibration",
    "conditional_norm",
    "search",
    "shapes",
    "initialization",
    "folded",
    "resampling",
    "no_generator",
)


def test_one_file_and_one_yaml_of_the_same_name() -> None:
    for group in ("latent_sampler", "model"):
        package = CONF.parent / "gan_cli" / f"{group}s"
        modules = {path.stem for path in package.glob("*.py")} - {"__init__", group, *SHARED}
        assert set(choices(group)) == modules


def test_run_settings_are_all_in_the_yaml_and_nowhere_else() -> None:
    config = composed_config()
    for name in inspect.signature(RunSettings).parameters:
        assert name in config, name


OF_CLASSES = ("classification", "semi_supervised")  # objectives that read class logits
MEASURING = ("shifted",)  # a generator of one number, for points, whose latents are as many as they have
GENERATIVE = [model for model in choices("model") if model not in (*CLASSIFIERS, *MEASURING)]
ALONE = ("drifting",)  # objectives without a discriminator
OF_IMAGES = [objective for objective in choices("objective") if objective not in (*OF_CLASSES, *ALONE)]


OF_IMAGES_ALONE = [regularizer for regularizer in choices("regularizer") if regularizer not in NEEDS]

OF_ONE_METHOD = {"latent_distance", "unit_direction", "path_length"}  # of a sampler, an objective, a generator
OF_HEADS = NEEDS.keys() & {*choices("regularizer")} - OF_ONE_METHOD

# Choices in the slow cases only.
ONCE = {"r1_fd", "r2_fd", "logit_centering", "lecam", "consistency", "zcr"}
ONCE |= {"mcgan", "san", "gradient_normalization", "logan"}
ONCE |= {"biggan", "stylegan2", "generator_spectral_norm"}
MIXING = {"cdcgan", "dcgan_classic", "stylegan2"}  # images in the discriminator, which gradient_normalization refuses
CLIPPING = {"wgan", "weight_clipping"}  # of weights that stylegan2 divides before it uses them: no gradient is left


def fits(model: str, objective: str, regularizer: str) -> bool:
    if model == "stylegan2" and CLIPPING.intersection((objective, regularizer)):
        return False
    return not (model in MIXING and objective == "gradient_normalization")


def without_once(found: list[str]) -> list[str]:
    return [choice for choice in found if choice not in ONCE]


def with_once() -> Iterator[tuple[str, str, str, str]]:
    """Every second pair of an objective and a regularizer; models and samplers take turns."""
    samplers = choices("latent_sampler")
    pairs = [pair for pair in product(OF_IMAGES, OF_IMAGES_ALONE) if ONCE.intersection(pair)]
    for number, pair in enumerate(pairs[::2]):
        if pair == ("mcgan", "weight_clipping"):  # its gradient is of second order in scores, which clipping makes tiny
            continue
        models = [model for model in GENERATIVE if fits(model, *pair)]
        yield models[number % len(models)], *pair, samplers[number % len(samplers)]


@pytest.mark.parametrize(
    ("model", "objective", "regularizer", "latent_sampler"),
    [
        *every_three(*map(without_once, (GENERATIVE, OF_IMAGES, OF_IMAGES_ALONE, choices("latent_sampler")))),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in with_once()),
        *(  # those of classes read a head, whose own tests are quick
            pytest.param(*case, marks=pytest.mark.slow)
            for case in product(GENERATIVE, OF_IMAGES, sorted(OF_HEADS), ["gaussian"])
            if fits(*case[:3])
        ),
    ],
)
def test_every_three_choices_train(
    experiment: Build, model: str, objective: str, regularizer: str, latent_sampler: str
) -> None:
    build = partial(
        experiment,
        *tiny_data(model),
        f"model={model}",
        f"objective={objective}",
        f"regularizer={regularizer}",
        f"latent_sampler={latent_sampler}",
        "latent_dim=4",
        *needs("regularizer", regularizer),
    )
    if (model, regularizer) in (
        ("r3gan", "spectral_norm"),
        ("r3gan", "generator_spectral_norm"),
    ):  # blocks start as the identity
        with pytest.raises(UserError, match=f"regularizer.{regularizer}: it cannot divide weights by their norm"):
            build()
    else:
        check_that_it_trains(build())


def check_that_it_trains(tiny: Experiment) -> None:
    network = tiny.players[-1].network
    before = [parameter.clone() for parameter in network.parameters()]
    steps = list(train(tiny))
    assert [step.number for step in steps] == [1, 2, 3]
    for step in steps:
        numbers = [loss for terms in step.losses.values() for loss in terms.values()] + list(step.scores.values())
        assert all(number.isfinite() for number in numbers)
    assert not any(map(torch.equal, before, network.parameters()))


@pytest.mark.parametrize("model", every_third_quick(GENERATIVE, of_one_value=True))
def test_the_semi_supervised_gan_trains_every_model(experiment: Build, model: str) -> None:
    regularizers = "regularizer=[vat,entropy_minimisation,feature_matching]"
    tiny = experiment(*tiny_data(model), f"model={model}", "objective=semi_supervised", regularizers, "latent_dim=4")
    check_that_it_trains(tiny)


@pytest.mark.parametrize("model", every_third_quick(GENERATIVE, of_one_value=True))
def test_every_model_has_a_generator_that_drifts_alone(experiment: Build, model: str) -> None:
    """With each of its samplers, penalties and augmentations that read no discriminator."""
    data = [setting for setting in tiny_data(model) if not setting.startswith("model.discriminator")]
    toy = model.startswith("mlp")
    labels = [] if toy or model == "cdcgan" else ["generator_labels=concat"]
    augmentation = "none" if toy else "diffaugment"
    tiny = experiment(
        *data,
        f"model={model}",
        "objective=drifting",
        "regularizer=mode_seeking",
        "latent_sampler=advlat_div",
        f"augmentation={augmentation}",
        "latent_dim=4",
        *labels,
    )
    assert [player.name for player in tiny.players] == ["generator"]
    check_that_it_trains(tiny)


@pytest.mark.parametrize("num_labelled", ["null", 12])
@pytest.mark.parametrize("regularizer", [name for name in choices("regularizer") if name not in NOT_OF_A_CLASSIFIER])
def test_every_regularizer_trains_a_classifier(experiment: Build, regularizer: str, num_labelled: object) -> None:
    tiny = experiment(*A_CLASSIFIER, f"regularizer={regularizer}", f"dataset.num_labelled={num_labelled}")
    assert [player.name for player in tiny.players] == ["discriminator"]
    check_that_it_trains(tiny)


def test_regularizers_compose(experiment: Build) -> None:
    tiny = experiment(*TINY, "objective=wgan_gp", "regularizer=[r1,spectral_norm]")
    assert set(tiny.bounds) == {"gradient_penalty", "r1", "spectral_norm"}
    layers = [m for m in tiny.game.discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert all(hasattr(layer, "parametrizations") for layer in layers)
    assert not any(hasattr(m, "parametrizations") for m in tiny.game.generator.modules())


def test_wgan_gp_stands_on_its_own_penalty_unless_told_otherwise(experiment: Build) -> None:
    assert set(experiment(*TINY, "objective=wgan_gp").bounds) == {"gradient_penalty"}
    assert set(experiment(*TINY, "objective=wgan_gp", "~regularizer.gradient_penalty").bounds) == set()
    assert set(experiment(*TINY, "objective=hinge", "regularizer=none").bounds) == set()


def test_shapes_flow_from_the_choices_to_the_players(experiment: Build) -> None:
    tiny = experiment(*TINY, "objective=realness", "num_outcomes=7", "latent_dim=9", "dataset.image_size=8")
    images = tiny.game.generator(torch.randn(2, 9))
    assert images.shape == (2, 1, 8, 8)
    assert tiny.game.discriminator(images).shape == (2, 7)


def test_the_seed_alone_decides_the_initial_weights(experiment: Build) -> None:
    torch.rand(3)
    one, two = experiment(*TINY), experiment(*TINY, "steps=5")
    other = experiment(*TINY, "seed=1")
    for part in ("generator", "discriminator"):
        first, second, third = (next(getattr(e.game, part).parameters()) for e in (one, two, other))
        assert torch.equal(first, second)
        assert not torch.equal(first, third)


REFUSED: list[tuple[list[str], str]] = [
    (["+extra=1"], "unknown key 'extra'"),
    (["+batchsize=1"], "did you mean batch_size"),
    (["+objective.saturatin=true"], "did you mean objective.saturating"),
    (["steps=abc"], "steps=abc must be an integer"),
    (["steps=true"], "steps=True must be an integer"),
    (["steps=0"], "steps=0 must be at least 1"),
    (["ema_decay=1.0"], "ema_decay=1.0 must be below 1.0"),
    (["steps=0", "batch_size=x"], "batch_size=x must be an integer; steps=0 must be at least 1"),
    (["objective=realness", "num_outcomes=many"], "num_outcomes=many must be an integer"),
    (["objective=realness", "objective.anchors=resample"], "did you mean resampled"),
    (["objective.saturating=2"], "objective.saturating=2 must be true or false"),
    (["model.generator.width=wide"], "model.generator.width=wide must be an integer"),
    (["~model.generator.width"], "model.generator.width is missing"),
    (["model=cnn", "model.generator.form=wgam"], "must be one of sngan, wgan: did you mean wgan?"),
    (["generator_batch_size=1"], "generator_batch_size=1 must be at least 2"),
    (["generator_batch_size=1.5"], "generator_batch_size=1.5 must be an integer or null"),
    (["run_dir=5"], "run_dir=5 must be text or null"),
    (["run_dir=''"], "run_dir is empty"),
    (["~steps"], "steps is missing"),
    (["~model.generator"], "model.generator must name a class"),
    (["ema_decay=nan"], "ema_decay=nan must be a finite number"),
    (["regularizer.r1.weight=inf"], "regularizer.r1.weight=inf must be a finite number"),
    (["generator_optimizer=null"], "generator_optimizer must name a class"),
    (["generator_optimizer.betas=[0.5]"], "generator_optimizer.betas=[0.5] must be a list of 2 numbers"),
    (["generator_optimizer.betas=[0.5,0.9,0.9]"], "betas=[0.5, 0.9, 0.9] must be a list of 2 numbers"),
    (["generator_optimizer.betas=[half,0.9]"], "betas=['half', 0.9] must be a list of 2 numbers"),
    (["generator_optimizer.betas=0.5"], "generator_optimizer.betas=0.5 must be a list of 2 numbers"),
    (["ema_decay={start: 0.9, factor: 1.5, every: 3}"], "ema_decay: factor=1.5 must be above 0 and below 1"),
    (["ema_decay={start: 1.9, factor: 0.5, every: 3}"], "must be below 1.0"),
    (["generator_optimizer.lr={start: 0.1, factor: 0.5}"], "generator_optimizer.lr.every is missing"),
    (["generator_optimizer.lr={start: 0.1, factor: 0.5, every: 0}"], "lr: every=0 must be at least 1"),
    (["regularizer.r1.weight={start: 1.0, factor: 0.5, every: 2.5}"], "weight.every=2.5 must be an integer"),
    (["generator_optimizer.lr=fast"], "generator_optimizer.lr=fast must be"),
    (["++generator_optimizer.amsgrad=nope"], "generator_optimizer.amsgrad=nope must be true or false"),
    (["++generator_optimizer.params=[]"], "unknown key 'generator_optimizer.params'"),
    (["++model.generator.latent_dim=5"], "unknown key 'model.generator.latent_dim'"),
    (["objective._target_=collections.OrderedDict", "~objective.saturating"], "is not a Objective"),
    (["latent_sampler._target_=torch.nn.Linear"], "is not a LatentSampler"),
    (
        ["objective=realness", "objective.num_outcomes=7"],
        "give num_outcomes=<value> in place of objective.num_outcomes",
    ),
    (["dataset=image_folder"], "dataset.root needs a value"),
    (["+decay_start=2"], "unknown key 'decay_start'"),
    (["generator_batch_size=1"], "generator_batch_size=1 must be at least 2"),
    (["generator_batch_size=many"], "generator_batch_size=many must be an integer or null"),
    (["objective._target_=gan_cli.nothing"], "cannot be imported"),
    (["+model.foo=3"], "unknown key 'model.foo'"),
    (["+latent_sampler._partial_=true"], "unknown key 'latent_sampler._partial_'"),
    (["+objective._args_=[1]"], "unknown key 'objective._args_'"),
    (["dataset.metrics.names=[fid,{_target_:gan_cli.objectives.Hinge}]"], "dataset.metrics.names[1]={"),
    (["dataset.metrics.names=[fid,kdi]"], "dataset.metrics.names[1]=kdi must be one of fid, inception_score, kid, "),
    (["dataset.metrics.names=[fid,kdi]"], "class_accuracy, cas, or a Metric: did you mean kid?"),
    (["model=mlp", "dataset=ring", "model.generator.hidden=[8,wide]"], "hidden[1]=wide must be an integer"),
    (["dataset.metrics=inception"], "is not the metrics: choose with metrics@dataset.metrics=<choice>"),
]


@pytest.mark.parametrize(("overrides", "message"), every_third_quick(REFUSED), ids=lambda value: str(value)[:40])
def test_bad_values_are_refused_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        read_config(composed_config(*overrides))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


MISFITS: list[tuple[list[str], str]] = [
    (["objective=realness", "num_outcomes=1"], "objective: num_outcomes=1 must be at least 2"),
    (["dataset.image_size=28"], "set dataset.image_size"),
    (["dataset=ring"], "use model=mlp"),
    (["model=resnet"], "resnet takes square images of 32, 48, 64, 128 pixels, not 1 x 16 x 16"),
    (["model=cnn", "dataset.image_size=28"], "set dataset.image_size=32"),
    (["batch_size=5000"], "batch_size=5000 is more than the 1797 images"),
    (["generator_batch_size=5000"], "generator_batch_size=5000 is more than the 1797 images"),
    (
        ["generator_optimizer.lr={start: 1e-3, end: -2e-3, until: 3, shape: linear}"],
        "generator_optimizer: Invalid learning rate: -0.002",
    ),
    (
        ["generator_optimizer.betas=[0.0, {start: 0.9, end: 1.5, until: 3, shape: linear}]"],
        "generator_optimizer: Invalid beta parameter at index 1: 1.5",
    ),
    (
        [
            "optimizer@generator_optimizer=rmsprop",
            "generator_optimizer.momentum={start: 0.0, end: 0.9, until: 3, shape: linear}",
        ],
        "generator_optimizer.momentum must start above 0",
    ),
    (["model.generator.width=0"], "width=0 must be at least 1"),
    (["generator_optimizer.lr=-1"], "generator_optimizer: Invalid learning rate"),
    (["dataset=image_folder", "dataset.root=/nowhere/at/all"], "is not a folder"),
    (["dataset=mnist", "dataset.download=false", "dataset.root=/nowhere"], "MNIST is not in"),
    (["latent_dim=0"], "latent_dim=0 must be at least 1"),
    (["regularizer.r1.weight=-1.0"], "weight=-1.0 must be at least 0"),
    (["dataset.metrics.kid_subset_size=1"], "kid_subset_size=1 must be at least 2"),
    (["dataset.image_size=1000000"], "the data set cannot be loaded"),
]


@pytest.mark.parametrize(("overrides", "message"), every_third_quick(MISFITS), ids=lambda value: str(value)[:40])
def test_parts_that_do_not_fit_are_refused_in_one_line(
    experiment: Build, overrides: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refusal:
        experiment(*overrides)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_players_optimizer_is_chosen_by_its_name() -> None:
    config = config_of(["generator_optimizer=rmsprop", "generator_optimizer.lr=3e-4"])
    assert config["generator_optimizer"]["_target_"] == "torch.optim.RMSprop"
    assert config["generator_optimizer"]["lr"] == 3e-4
    assert config["discriminator_optimizer"]["_target_"] == "torch.optim.Adam"
    assert placed(["discriminator_optimizer=adam,rmsprop"]) == ["optimizer@discriminator_optimizer=adam,rmsprop"]
    for left in ("generator_optimizer=null", "generator_optimizer={lr: 1}", "generator_optimizer.lr=1", "--info"):
        assert placed([left]) == [left]


def test_stairs_of_a_rate_and_inside_betas(experiment: Build) -> None:
    stairs = "{start: 0.8, factor: 0.5, every: 2}"
    tiny = experiment(*TINY, f"generator_optimizer.lr={stairs}", f"generator_optimizer.betas=[0.5,{stairs}]")
    (player,) = (player for player in tiny.players if player.name == "generator")
    seen = []
    for step in range(5):
        player.set_schedules(step)
        seen.append((player.rate, player.optimizer.param_groups[0]["betas"]))
    assert seen == [(value, (0.5, value)) for value in (0.8, 0.8, 0.4, 0.4, 0.2)]


def test_integers_in_betas_are_numbers_too(experiment: Build) -> None:
    tiny = experiment(*TINY, "generator_optimizer.betas=[0,0.9]")
    (optimizer,) = (player.optimizer for player in tiny.players if player.name == "generator")
    betas = optimizer.param_groups[0]["betas"]
    assert tuple(betas) == (0.0, 0.9)
    assert all(isinstance(beta, float) for beta in betas)


def test_uniform_latents_span_minus_one_to_one(experiment: Build) -> None:
    latents = experiment(*TINY, "latent_sampler=uniform").gan.latent_sampler.sample(1000, torch.device("cpu"))
    assert latents.min() == pytest.approx(-1, abs=0.01)
    assert latents.max() == pytest.approx(1, abs=0.01)


def test_protocols_differ_where_the_data_does(experiment: Build) -> None:
    toy = [*TINY_MLP, "model=mlp", "dataset=ring", "dataset.points_per_mode=2"]
    one, other = (experiment(*toy, f"dataset.radius={radius}").dataset.protocol for radius in (1.0, 2.0))
    assert one != other


@pytest.mark.parametrize(
    ("preset", "chain", "penalties"),
    [
        ("advlat_qua", ["AdvLatQua", "Gaussian"], {"gradient_penalty"}),
        ("advlat_qua_plus", ["AdvLatZ", "AdvLatQua", "Gaussian"], {"gradient_penalty"}),
        ("advlat_div", ["AdvLatDiv", "Gaussian"], {"gradient_penalty", "mode_seeking"}),
        ("advlat_div_plus", ["AdvLatZ", "AdvLatDiv", "Gaussian"], {"gradient_penalty", "mode_seeking"}),
    ],
)
def test_presets_are_put_on_any_objective_data_and_model(
    experiment: Build, preset: str, chain: list[str], penalties: set[str]
) -> None:
    settings = [*TINY_MLP, f"experiment=[toy_ring,{preset}]", "objective=wgan_gp", "dataset.points_per_mode=8"]
    tiny = experiment(*settings, "steps=3", "num_eval_images=16", "batch_size=4")
    sampler: Any = tiny.gan.latent_sampler
    found = [type(sampler).__name__]
    while hasattr(sampler, "prior"):
        sampler = sampler.prior
        found.append(type(sampler).__name__)
    assert found == chain
    assert sampler.latent_dim == 2
    assert set(tiny.bounds) == penalties
    assert len(list(train(tiny))) == 3


DIVERGENCES = list(typing.get_args(fgan.Name))


@pytest.mark.parametrize(
    "settings",
    [
        *(
            f"objective=fgan objective.divergence={name} objective.saturating={s}"
            for name in DIVERGENCES
            for s in (True, False)
        ),
        *(
            f"objective=relativistic objective.pairing={pairing} objective.loss={loss}"
            for pairing in ("paired", "average")
            for loss in ("standard", "least_squares", "hinge")
        ),
        *(f"objective=realness objective.generator_objective={number} objective.pairing=index" for number in (1, 2, 3)),
        *(
            f"objective=realness objective.anchors={anchors}"
            for anchors in ("resampled", "resampled_each_step", "fixed", "expected")
        ),
        "objective=realness objective.anchor_shape=skewed_normal objective.feature_resampling=true",
        "model=cnn model.generator.form=wgan dataset.image_size=32",
        "model=resnet model.discriminator.form=wgan_gp dataset.image_size=32",
        "regularizer=gradient_penalty regularizer.gradient_penalty.one_sided=true",
        "regularizer=dragan regularizer.dragan.noise=uniform",
        "regularizer=mode_seeking regularizer.mode_seeking.form=difference",
        *(f"regularizer={name} regularizer.{name}.images=real" for name in ("vat", "adversarial_training")),
    ],
    ids=lambda words: words[:80],
)
@pytest.mark.slow
def test_every_form_of_a_method_trains(experiment: Build, settings: str) -> None:
    tiny = experiment(*TINY, *settings.split())
    for step in train(tiny):
        assert all(loss.isfinite() for terms in step.losses.values() for loss in terms.values())
