"""LeCam's penalty and the centring of logits, against values computed by hand; LeCam's averages across a resume."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.game import Game, Turn
from gan_cli.objectives import Wasserstein
from gan_cli.regularizers import LeCam, LogitCentering
from gan_cli.shapes import Outputs
from gan_cli.trainer import train

from ..conftest import TINY, realness
from ..outcome import whole_and_continued
from ..values import a_turn

GAME = Game(nn.Identity(), nn.Identity(), Wasserstein())


def judged(real: Tensor, fake: Tensor) -> Turn:
    """A turn whose images have these logits."""
    seen = a_turn(torch.zeros(len(real), 1, 1, 1), torch.zeros(len(fake), 1, 1, 1))
    return replace(seen, real_outputs=Outputs(real), fake_outputs=Outputs(fake))


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_lecam_is_its_equation_and_its_means_move() -> None:
    lecam = LeCam(weight=1.0, every=1, decay=0.9).double()
    first = lecam.penalty(GAME, judged(column(1.0, 3.0), column(-1.0, -2.0)))
    assert lecam.means.tolist() == [2.0, -1.5]  # the first batch's
    assert first.item() == pytest.approx((2.5**2 + 4.5**2) / 2 + (3.0**2 + 4.0**2) / 2)
    second = lecam.penalty(GAME, judged(column(4.0, -4.0), column(0.5, 3.5)))
    real, fake = 0.9 * 2.0 + 0.1 * 0.0, 0.9 * -1.5 + 0.1 * 2.0
    assert lecam.means.tolist() == pytest.approx([real, fake])
    assert second.item() == pytest.approx((4.0 - fake) ** 2 / 2 + (real - 0.5) ** 2 / 2)  # the others are in order


def test_lecam_pulls_scores_to_means_that_carry_no_gradient() -> None:
    lecam = LeCam(weight=1.0, every=1, decay=0.9).double()
    real, fake = column(1.0, 3.0).requires_grad_(), column(-1.0, -2.0).requires_grad_()
    loss = lecam.penalty(GAME, judged(real, fake))
    lecam.penalty(GAME, judged(column(9.0), column(9.0)))  # the averages move on before the backward pass
    loss.backward()
    torch.testing.assert_close(real.grad, real.detach() + 1.5)  # 2 (v - a_f) / 2
    torch.testing.assert_close(fake.grad, fake.detach() - 2.0)


def test_lecam_begins_at_its_step_with_averages_of_all_before(experiment: Callable[..., Experiment]) -> None:
    schedule = "regularizer.lecam.weight={start: 0.0, end: 0.3, since: 1, until: 2, shape: linear}"
    tiny = experiment(*TINY, "regularizer=lecam", schedule)
    losses = [step.losses["discriminator"]["lecam"].item() for step in train(tiny)]
    assert losses[0] == losses[1] == 0 < losses[2]
    plain = experiment(*TINY, "regularizer=none")
    means = [torch.stack(list(step.scores.values())) for step in train(plain)]
    expected = (means[0] * 0.99 + means[1] * 0.01) * 0.99 + means[2] * 0.01
    torch.testing.assert_close(tiny.bounds["lecam"].means, expected)  # type: ignore[attr-defined]


def test_lecams_averages_are_the_same_bits_after_a_resume(experiment: Callable[..., Experiment]) -> None:
    settings = [*TINY, "steps=4", "regularizer=lecam", "regularizer.lecam.weight=0.3"]
    whole, again = whole_and_continued(experiment, *settings)
    kept = again.parts()["regularizer.lecam"].state_dict()
    assert set(kept) == {"means", "started"}
    for name, value in whole.parts()["regularizer.lecam"].state_dict().items():
        assert torch.equal(value, kept[name])
    for one, other in zip(whole.game.discriminator.parameters(), again.game.discriminator.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_decay_that_never_forgets_is_refused(experiment: Callable[..., Experiment]) -> None:
    with pytest.raises(UserError, match="decay=1.0 must be at least 0 and below 1"):
        experiment(*TINY, "regularizer=lecam", "regularizer.lecam.decay=1.0")


def test_logit_centring_is_its_equation() -> None:
    value = LogitCentering(weight=1.0).penalty(GAME, judged(column(1.0, 3.0), column(-1.0, -2.0)))
    assert value.item() == pytest.approx((0.0**2 + 1.0**2) / 2)


def test_logit_centring_reads_the_score_of_several_outcomes() -> None:
    objective = realness(num_outcomes=4, anchors="expected")
    torch.manual_seed(0)
    real, fake = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    value = LogitCentering(weight=1.0).penalty(Game(nn.Identity(), nn.Identity(), objective), judged(real, fake))
    torch.testing.assert_close(value, (objective.score(real) + objective.score(fake)).square().mean())


def test_logit_centring_moves_only_the_constant_of_a_paired_comparison() -> None:
    """Its best shift of all logits: minus the mean of both sides' means."""
    real, fake = column(1.0, 2.0, 6.0), column(3.0, 2.0, -1.0)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    LogitCentering(weight=1.0).penalty(GAME, judged(real + shift, fake + shift)).backward()
    assert shift.grad is not None
    assert shift.grad.item() == pytest.approx(4 * (3.0 + 4 / 3), rel=1e-12)
