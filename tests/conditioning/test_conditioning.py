"""Labels that have no effect change nothing; those that have one do what the formulas say; copies have their own."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gan_cli.conditioning.auxiliary import Auxiliary
from gan_cli.conditioning.batch_norm import BatchNorm, SharedBatchNorm
from gan_cli.conditioning.concat import ConcatDiscriminator, ConcatGenerator
from gan_cli.conditioning.conditioning import DiscriminatorLabels, GeneratorLabels
from gan_cli.conditioning.projection import Projection
from gan_cli.conditioning.proxies import Proxies
from gan_cli.conditioning.twin_logits import TwinLogits
from gan_cli.ema import MovingAverage
from gan_cli.models import cdcgan, cnn, dcgan, dcgan_classic, mlp, mlp_maxout, r3gan, resnet
from gan_cli.networks import last_linear
from gan_cli.regularizers import SpectralNorm

LATENT_DIM, CLASSES, BATCH = 5, 3, 6
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])
Shape = tuple[int, int, int]
WAYS = [BatchNorm(), SharedBatchNorm(dim=4)]


class Model(NamedTuple):
    module: Any
    shape: Shape
    generator_settings: dict[str, Any]
    discriminator_settings: dict[str, Any]

    def generator(self, latent_dim: int) -> nn.Module:
        module = mlp if self.module is mlp_maxout else self.module
        network: nn.Module = module.Generator(latent_dim=latent_dim, image_shape=self.shape, **self.generator_settings)
        return network

    def discriminator(self, shape: Shape, num_outcomes: int) -> nn.Module:
        network: nn.Module = self.module.Discriminator(
            image_shape=shape, num_outcomes=num_outcomes, **self.discriminator_settings
        )
        return network

    def images(self) -> Tensor:
        return torch.rand(BATCH, *self.shape) * 2 - 1


WIDTH = {"width": 4}
R3GAN = WIDTH | {"full_width_until": 8, "group_width": 2}
PERCEPTRON = {"hidden": [8, 7], "batch_norm": True, "bounded": False}
MODELS = {
    "cdcgan": Model(cdcgan, (3, 32, 32), WIDTH, WIDTH),
    "cnn": Model(cnn, (3, 32, 32), WIDTH | {"form": "sngan"}, WIDTH | {"form": "sngan"}),
    "dcgan": Model(dcgan, (1, 16, 16), WIDTH, WIDTH),
    "dcgan_classic": Model(dcgan_classic, (1, 32, 32), WIDTH, WIDTH),
    "mlp": Model(mlp, (2, 1, 1), PERCEPTRON, {"hidden": [8, 7]}),
    "mlp_maxout": Model(mlp_maxout, (2, 1, 1), PERCEPTRON, {"hidden": [8, 7], "num_pieces": 2}),
    "r3gan": Model(r3gan, (3, 16, 16), R3GAN, R3GAN),
    "resnet": Model(resnet, (3, 32, 32), WIDTH, WIDTH | {"form": "wgan_gp"}),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
IMAGE = MODELS["dcgan"]


def same_seed(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return build()


@torch.no_grad()
def copied(narrow: nn.Module, wide: nn.Module) -> None:
    """The weights of `narrow` in `wide`, and 0 where `wide` has more."""
    for (name, small), large in zip(narrow.state_dict().items(), wide.state_dict().values(), strict=True):
        assert small.ndim == large.ndim, name
        large.zero_()
        large[tuple(slice(size) for size in small.shape)] = small


@torch.no_grad()
def without_effect(network: nn.Module) -> None:
    """Batch norm that neither scales nor shifts, as in a conditional network at its beginning."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.weight.fill_(1)
            layer.bias.zero_()


def assert_same(labelled: Callable[[Tensor], Tensor], plain: nn.Module, inputs: Tensor, network: nn.Module) -> None:
    """To rounding in double precision: sums of more terms, or of more columns, may be taken in another order."""
    plain.double()
    network.double()
    torch.testing.assert_close(labelled(inputs.double()), plain(inputs.double()), rtol=1e-12, atol=1e-12)


@every_model
def test_concatenated_codes_without_label_weights(model: Model) -> None:
    plain = model.generator(LATENT_DIM)
    labelled = ConcatGenerator().wrap(model.generator, LATENT_DIM, CLASSES)
    copied(plain, labelled.network)
    codes = torch.randn(BATCH, LATENT_DIM)
    assert_same(lambda codes: labelled(codes, LABELS), plain, codes, labelled)


@every_model
@pytest.mark.parametrize("outcomes", [1, 5])
def test_concatenated_planes_without_label_weights(model: Model, outcomes: int) -> None:
    plain = model.discriminator(model.shape, outcomes)
    labelled = ConcatDiscriminator().wrap(model.discriminator, model.shape, outcomes, CLASSES)
    copied(plain, labelled.network)
    images = model.images()
    assert_same(lambda images: labelled(images, LABELS), plain, images, labelled)


@pytest.mark.parametrize("model", [model for name, model in MODELS.items() if name != "r3gan"])  # it has no batch norm
@pytest.mark.parametrize("way", WAYS)
def test_conditional_batch_norm_begins_without_effect(model: Model, way: BatchNorm | SharedBatchNorm) -> None:
    plain = same_seed(lambda: model.generator(LATENT_DIM))
    labelled = same_seed(lambda: way.wrap(model.generator, LATENT_DIM, CLASSES))
    without_effect(plain)
    codes = torch.randn(BATCH, LATENT_DIM)
    for training in (True, False):
        plain.train(training)
        labelled.train(training)
        assert torch.equal(labelled(codes, LABELS), plain(codes))


@every_model
@pytest.mark.parametrize("outcomes", [1, 5])
def test_projection_without_label_weights(model: Model, outcomes: int) -> None:
    plain = same_seed(lambda: model.discriminator(model.shape, outcomes))
    labelled = same_seed(lambda: Projection().wrap(model.discriminator, model.shape, outcomes, CLASSES))
    images = model.images()
    assert not torch.equal(labelled(images, LABELS), plain(images))
    nn.init.zeros_(labelled.embedding.weight)
    assert torch.equal(labelled(images, LABELS), plain(images))


@every_model
@pytest.mark.parametrize("outcomes", [1, 5])
@pytest.mark.parametrize("way", [Auxiliary(), Proxies(dim=4)])
def test_heads_leave_the_logits_alone(model: Model, way: Auxiliary | Proxies, outcomes: int) -> None:
    plain = same_seed(lambda: model.discriminator(model.shape, outcomes))
    labelled = same_seed(lambda: way.wrap(model.discriminator, model.shape, outcomes, CLASSES))
    images = model.images()
    assert torch.equal(labelled(images).logits, plain(images))


@every_model
@pytest.mark.parametrize("outcomes", [1, 5])
def test_twin_logits_alike_for_every_class(model: Model, outcomes: int) -> None:
    plain = model.discriminator(model.shape, outcomes)
    twin = TwinLogits().wrap(model.discriminator, model.shape, outcomes, CLASSES)
    weights = plain.state_dict()
    head, _ = last_linear(plain)
    weights |= {name: value.repeat(CLASSES, *[1] * (value.ndim - 1)) for name, value in weights.items() if head in name}
    twin.network.load_state_dict(weights)
    images = model.images()
    assert_same(lambda images: twin(images, LABELS).logits, plain, images, twin)


GENERATORS: list[GeneratorLabels] = [ConcatGenerator(), *WAYS]
DISCRIMINATORS: list[DiscriminatorLabels] = [
    ConcatDiscriminator(),
    Projection(),
    Auxiliary(),
    TwinLogits(),
    Proxies(dim=4),
]


@pytest.mark.parametrize("way", GENERATORS)
def test_each_row_depends_on_its_own_label(way: GeneratorLabels) -> None:
    generator = way.wrap(IMAGE.generator, LATENT_DIM, CLASSES).eval()
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            weight.copy_(torch.randn_like(weight) / 4 if "scale" in name or "shift" in name else weight)
    codes = torch.randn(1, LATENT_DIM).repeat(BATCH, 1)
    images = generator(codes, LABELS)
    torch.testing.assert_close(images[0], images[4], rtol=1e-5, atol=1e-6)
    assert (images[0] - images[1]).abs().max() > 1e-4
    with torch.no_grad():
        torch.testing.assert_close(generator(codes[:1], LABELS[1:2])[0], images[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_conditional_batch_norm_is_its_formula(way: BatchNorm | SharedBatchNorm) -> None:
    shape = nn.Unflatten(1, (LATENT_DIM, 1, 1))
    generator = way.wrap(lambda _: nn.Sequential(nn.BatchNorm1d(LATENT_DIM), shape), LATENT_DIM, CLASSES).double()
    layer = generator.network[0]
    for row in (layer.scale, layer.shift):
        nn.init.normal_(row.weight)
    codes = torch.randn(BATCH, LATENT_DIM, dtype=torch.float64)
    labels = one_hot(LABELS, CLASSES).double()
    given = labels if isinstance(way, BatchNorm) else labels @ generator.embedding.weight
    scale, shift = (
        given @ (row.weight if isinstance(way, BatchNorm) else row.weight.T) for row in (layer.scale, layer.shift)
    )
    normalised = (codes - codes.mean(0)) / (codes.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(generator(codes, LABELS).flatten(1), (1 + scale) * normalised + shift)


@pytest.mark.parametrize("way", GENERATORS)
def test_a_copy_has_labels_of_its_own_and_no_state_has_any(way: GeneratorLabels) -> None:
    generator = way.wrap(IMAGE.generator, LATENT_DIM, CLASSES)
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    codes = torch.randn(BATCH, LATENT_DIM)
    generator(codes, LABELS).sum().backward()
    again = copy.deepcopy(generator)  # also after a pass with a gradient
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            weight.add_(torch.randn_like(weight) if "scale" in name else 0)
    MovingAverage(average, generator).update(0.0)
    assert torch.equal(average(codes, LABELS), generator.eval()(codes, LABELS))
    again.load_state_dict(generator.state_dict())
    assert torch.equal(again.eval()(codes, LABELS), generator(codes, LABELS))
    fresh = way.wrap(IMAGE.generator, LATENT_DIM, CLASSES)
    assert fresh.state_dict().keys() == generator.state_dict().keys()
    assert all(value.is_floating_point() or "num_batches_tracked" in name for name, value in fresh.state_dict().items())


def test_a_generator_without_batch_norm_is_refused_in_one_line() -> None:
    for way in WAYS:
        with pytest.raises(ValueError, match=r"Linear has no batch norm, .*: set generator_labels=concat") as refusal:
            way.wrap(lambda width: nn.Linear(width, 2), LATENT_DIM, CLASSES)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("way", [Projection(), Auxiliary(), Proxies(dim=4)])
def test_a_discriminator_that_does_not_end_in_its_linear_layer_is_refused(way: DiscriminatorLabels) -> None:
    def build(shape: Shape, outcomes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.Unflatten(1, (8, 1)), nn.Conv1d(8, outcomes, 1))

    with pytest.raises(ValueError, match="last nn.Linear of Sequential has 8 outputs, not the 2 logits"):
        way.wrap(build, IMAGE.shape, 2, CLASSES)
    with pytest.raises(ValueError, match=r"Sequential has no nn\.Linear"):
        way.wrap(lambda *_: nn.Sequential(nn.Flatten()), IMAGE.shape, 2, CLASSES)


def linear(shape: Shape, num_outcomes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0], num_outcomes))


@pytest.mark.parametrize("outcomes", [1, 3])
def test_projection_is_its_formula_with_the_gradient_of_each_embedding(outcomes: int) -> None:
    features = torch.randn(BATCH, 4, dtype=torch.float64)
    network = Projection().wrap(linear, (4, 1, 1), outcomes, CLASSES).double()
    embedding = network.embedding.weight.detach().unflatten(1, (outcomes, 4))
    logits = network(features[:, :, None, None], LABELS)
    head = network.network.network[1]
    for row, label in enumerate(LABELS):
        for outcome in range(outcomes):
            own = embedding[label, outcome] @ features[row]
            expected = head.weight[outcome] @ features[row] + head.bias[outcome] + own
            torch.testing.assert_close(logits[row, outcome], expected)
    logits.log_softmax(1)[:, 0].sum().backward() if outcomes > 1 else logits.sum().backward()
    by_outcome = 1 - torch.ones_like(logits) if outcomes > 1 else torch.ones_like(logits)
    if outcomes > 1:  # d log p_0 / d logits = one_hot(0) - p
        by_outcome = one_hot(torch.zeros(BATCH).long(), outcomes) - logits.detach().softmax(1)
    expected = torch.zeros(CLASSES, outcomes, 4, dtype=torch.float64)
    for row, label in enumerate(LABELS):
        expected[label] += by_outcome[row][:, None] * features[row]
    torch.testing.assert_close(network.embedding.weight.grad.unflatten(1, (outcomes, 4)), expected)
    assert expected.abs().max() > 0.1


def test_auxiliary_class_logits_are_a_linear_layer_of_the_features() -> None:
    features = torch.randn(BATCH, 4)
    network = Auxiliary().wrap(linear, (4, 1, 1), 2, CLASSES)
    outputs = network(features[:, :, None, None])
    torch.testing.assert_close(outputs.class_logits, features @ network.classes.weight.T + network.classes.bias)


@pytest.mark.parametrize("outcomes", [1, 3])
def test_twin_logits_are_one_softmax_over_class_and_outcome(outcomes: int) -> None:
    features = torch.randn(BATCH, 4, 1, 1, dtype=torch.float64)
    network = TwinLogits().wrap(linear, (4, 1, 1), outcomes, CLASSES).double()
    outputs = network(features, LABELS)
    everything = network.network(features).unflatten(1, (CLASSES, outcomes))
    for row, label in enumerate(LABELS):
        assert torch.equal(outputs.logits[row], everything[row, label])
    joint = everything.flatten(1).softmax(1).unflatten(1, (CLASSES, outcomes)).sum(2)
    torch.testing.assert_close(outputs.class_logits.softmax(1), joint)
    if outcomes == 1:
        assert torch.equal(outputs.class_logits, everything.squeeze(2))
    assert torch.equal(outputs.class_logits, network(features, LABELS.flip(0)).class_logits)


def test_embedding_and_proxies_have_unit_length() -> None:
    outputs = Proxies(dim=4).wrap(IMAGE.discriminator, IMAGE.shape, 1, CLASSES)(IMAGE.images())
    assert outputs.embedding.shape == (BATCH, 4)
    assert outputs.proxies.shape == (CLASSES, 4)
    for rows in (outputs.embedding, outputs.proxies):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))


@pytest.mark.parametrize("way", [Projection(), Proxies(dim=4)])
def test_spectral_norm_divides_embeddings_too(way: DiscriminatorLabels) -> None:
    network = way.wrap(IMAGE.discriminator, IMAGE.shape, 1, CLASSES)
    SpectralNorm(num_power_iterations=30).impose(network)
    network.train()
    for _ in range(3):
        network(IMAGE.images(), *[LABELS] * isinstance(way, Projection))
    layer = network.embedding if isinstance(way, Projection) else network.proxies
    assert torch.linalg.matrix_norm(layer.eval().weight, ord=2).item() == pytest.approx(1, rel=1e-3)
