"""Losses of classes and embeddings, against batches computed by hand in double precision."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gan_cli.game import Game
from gan_cli.objectives import StdGAN
from gan_cli.regularizers import D2DCE, Classification, Contrastive
from gan_cli.regularizers.classification import OfClasses
from gan_cli.shapes import Examples, Latents, Outputs, Turn

REAL_LABELS, FAKE_LABELS = torch.tensor([0, 1, 0, 2, 1]), torch.tensor([2, 2, 0, 1])
NONE = torch.full((5,), -1)
CLASSES, DIM = 3, 4
COMMON = {"weight": 1.0, "every": 1}


def outputs(seed: int, count: int) -> Outputs:
    torch.manual_seed(seed)
    logits, class_logits = torch.zeros(count, 1).double(), torch.randn(count, CLASSES).double()
    embedding, proxies = normalize(torch.randn(count, DIM).double()), normalize(torch.randn(CLASSES, DIM).double())
    return Outputs(logits, class_logits, embedding, proxies)


REAL, FAKE = outputs(0, 5), outputs(1, 4)


def a_turn(real_labels: Tensor = REAL_LABELS, real: Outputs | None = REAL, fake_labels: Tensor = FAKE_LABELS) -> Turn:
    shown, made = (Examples(torch.zeros(len(labels), 1, 1, 1), labels) for labels in (real_labels, fake_labels))
    return Turn(shown, Latents(torch.zeros(len(fake_labels), 2), fake_labels), made, real, FAKE, shown)


GAME = Game(nn.Identity(), nn.Identity(), StdGAN(saturating=False))


def cross_entropy(out: Outputs, labels: Tensor) -> float:
    assert out.class_logits is not None
    rows = zip(out.class_logits.tolist(), labels.tolist(), strict=True)
    shares = [math.exp(row[label]) / sum(map(math.exp, row)) for row, label in rows]
    return -sum(map(math.log, shares)) / len(shares)


def two_c(out: Outputs, labels: Tensor, temperature: float) -> float:
    """Equation 9 of ContraGAN, term by term."""
    total = 0.0
    for i, l_i in enumerate(out.embedding):
        own = math.exp(l_i @ out.proxies[labels[i]] / temperature)
        others = {k: math.exp(l_i @ l_k / temperature) for k, l_k in enumerate(out.embedding) if k != i}
        same = sum(value for k, value in others.items() if labels[k] == labels[i])
        total -= math.log((own + same) / (own + sum(others.values())))
    return total / len(labels)


def d2d_ce(out: Outputs, labels: Tensor, temperature: float, margin: float) -> float:
    """Equation 6 of ReACGAN, term by term."""
    total = 0.0
    for i, f_i in enumerate(out.embedding):
        own = math.exp(min(float(f_i @ out.proxies[labels[i]]) - margin, 0) / temperature)
        negatives = [
            math.exp(max(float(f_i @ f_j) - (1 - margin), 0) / temperature)
            for j, f_j in enumerate(out.embedding)
            if labels[j] != labels[i]
        ]
        total -= math.log(own / (own + sum(negatives)))
    return total / len(labels)


def of(kind: str, player: str, images: str) -> OfClasses:
    settings = COMMON | {"player": player, "images": images}
    if kind == "classification":
        return Classification(**settings)
    return (
        Contrastive(temperature=0.7, **settings)
        if kind == "contrastive"
        else D2DCE(temperature=0.5, margin=0.6, **settings)
    )


def by_hand(kind: str, out: Outputs, labels: Tensor) -> float:
    if kind == "classification":
        return cross_entropy(out, labels)
    return two_c(out, labels, 0.7) if kind == "contrastive" else d2d_ce(out, labels, 0.5, 0.6)


KINDS = pytest.mark.parametrize("kind", ["classification", "contrastive", "d2d_ce"])


@KINDS
def test_each_loss_is_its_formula_on_the_chosen_images(kind: str) -> None:
    real, fake = by_hand(kind, REAL, REAL_LABELS), by_hand(kind, FAKE, FAKE_LABELS)
    for images, expected in (("real", real), ("fake", fake), ("both", real + fake)):
        assert of(kind, "discriminator", images).penalty(GAME, a_turn()).item() == pytest.approx(expected, rel=1e-12)
    assert of(kind, "generator", "fake").penalty(GAME, a_turn(real=None)).item() == pytest.approx(fake, rel=1e-12)
    assert real > 0.05 < fake


@KINDS
def test_images_without_a_label_change_nothing(kind: str) -> None:
    some = torch.tensor([0, -1, 0, 2, -1])
    kept = some >= 0
    rest = Outputs(REAL.logits[kept], REAL.class_logits[kept], REAL.embedding[kept], REAL.proxies)
    expected = by_hand(kind, rest, some[kept])
    assert of(kind, "discriminator", "real").penalty(GAME, a_turn(some)).item() == pytest.approx(expected, rel=1e-12)


@KINDS
def test_no_labels_cost_nothing_and_still_have_a_gradient(kind: str) -> None:
    leaves = [tensor.clone().requires_grad_() for tensor in (REAL.class_logits, REAL.embedding, REAL.proxies)]
    loss = of(kind, "discriminator", "real").penalty(GAME, a_turn(NONE, Outputs(REAL.logits, *leaves)))
    assert loss.item() == 0
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert any(gradient is not None for gradient in gradients)
    assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_d2d_ce_of_one_class_within_the_margin_is_nothing() -> None:
    """Without a negative the fraction is 1 whatever the embeddings; a perfect batch has a known value."""
    one = torch.zeros(5).long()
    loss = D2DCE(temperature=0.5, margin=0.98, player="discriminator", images="real", **COMMON)
    assert loss.losses(REAL, one).abs().max() < 1e-12
    corners = torch.eye(CLASSES, dtype=torch.float64)
    perfect = Outputs(torch.zeros(3, 1).double(), None, corners, corners)
    torch.testing.assert_close(loss.losses(perfect, torch.arange(3)), torch.full((3,), math.log(3)).double())


@KINDS
def test_labelled_images_of_their_own_are_judged_for_it(kind: str) -> None:
    class Network(nn.Module):
        def forward(self, images: Tensor) -> Outputs:
            return REAL

    turn = a_turn(NONE, None)
    shown = Examples(torch.zeros(5, 1, 1, 1), REAL_LABELS)
    own = Turn(turn.real, turn.latents, turn.fake, turn.real_outputs, turn.fake_outputs, shown)
    game = Game(nn.Identity(), Network(), StdGAN(saturating=False))
    found = of(kind, "discriminator", "real").penalty(game, own).item()
    assert found == pytest.approx(by_hand(kind, REAL, REAL_LABELS), rel=1e-6)
    assert game.passes.discriminator == 5


@KINDS
def test_the_generator_has_only_fake_images_and_the_discriminator_needs_a_head(kind: str) -> None:
    with pytest.raises(ValueError, match="images=real must be fake for the generator"):
        of(kind, "generator", "real")
    with pytest.raises(ValueError, match="the discriminator has no (class logits|embedding): set discriminator_labels"):
        of(kind, "discriminator", "real").check(GAME)
