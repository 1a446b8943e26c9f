"""Parts that are made of other parts: in a list, or in a mapping."""

from collections.abc import Callable

import pytest
import torch

from gan_cli.config.build import build
from gan_cli.config.read import config_of
from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.objectives import Hinge, StdGAN
from gan_cli.trainer import train

from ..conftest import TINY
from ..third_party import Mean, Named, chosen, node

Build = Callable[..., Experiment]

HINGE = node("gan_cli.objectives.Hinge")
STANDARD = node("gan_cli.objectives.StdGAN", saturating="false")
R1 = node("gan_cli.regularizers.R1", weight=1.0, every=1)


def test_a_list_of_parts_is_built_and_trained(experiment: Build) -> None:
    tiny = experiment(*TINY, *chosen("objective", "Mean", parts=f"[{HINGE}, {STANDARD}]"))
    objective = tiny.game.objective
    assert objective == Mean(parts=[Hinge(), StdGAN(saturating=False)])
    real, fake = torch.randn(4, 1), torch.randn(4, 1)
    halves = [part.discriminator_loss(real, fake) for part in (Hinge(), StdGAN(saturating=False))]
    torch.testing.assert_close(objective.discriminator_loss(real, fake), (halves[0] + halves[1]) / 2)
    assert len(list(train(tiny))) == 3


def test_a_mapping_of_parts_is_built_and_trained(experiment: Build) -> None:
    tiny = experiment(*TINY, *chosen("objective", "Named", parts=f"{{one: {HINGE}, other: {STANDARD}}}"))
    assert tiny.game.objective == Named(parts={"one": Hinge(), "other": StdGAN(saturating=False)})
    assert len(list(train(tiny))) == 3


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        ("Mean", f"[{HINGE}, {R1}]", "objective.parts[1]="),
        ("Named", f"{{one: {HINGE}, other: {R1}}}", "objective.parts="),
        ("Mean", "[5]", "objective.parts[0]=5 must be an Objective"),
        ("Named", "{one: 5}", "objective.parts={'one': 5} must be"),
        ("Mean", HINGE, "objective.parts="),
        ("Mean", "[{_target_: gan_cli.objectives.StdGAN}]", "objective.parts[0].saturating is missing"),
        ("Named", "{one: {_target_: gan_cli.objectives.Nothing}}", "cannot be imported"),
        ("Mean", "[{_target_: collections.OrderedDict}]", "is not a "),
    ],
)
def test_what_does_not_belong_there_is_refused_in_one_line(name: str, parts: str, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        config_of([*TINY, *chosen("objective", name, parts=parts)])
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_class_that_refuses_its_value_says_where(experiment: Build) -> None:
    with pytest.raises(UserError, match=r"^objective: num_outcomes=1 must be at least 2") as refusal:
        build("objective", config_of([*TINY, "objective=realness", "num_outcomes=1"])["objective"])
    assert "\n" not in str(refusal.value)
