"""gan-eval with an attack: closed forms on linear networks, the files, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gan_cli.attacks import FGSM
from gan_cli.attacks.answers import BATCH, answers
from gan_cli.commands.attack import Classifier, Critic, examples
from gan_cli.config.read import read_evaluation
from gan_cli.data import TrainingSet
from gan_cli.errors import UserError
from gan_cli.experiment import GAN
from gan_cli.game import Game
from gan_cli.latent_samplers import Gaussian
from gan_cli.objectives import Wasserstein
from gan_cli.shapes import unlabelled

from ..conftest import TINY, Command, composed_config

EPSILONS = [0.0, 0.01, 0.03, 0.1]


def linear(num_outcomes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, num_outcomes)).double()


def data(count: int = 300, labels: Tensor | None = None) -> TrainingSet:
    """Values far enough from the ends of the range, stored as they are."""
    torch.manual_seed(1)
    values = 0.5 * torch.rand(count, 1, 3, 3, dtype=torch.float64)
    return TrainingSet(values, unlabelled(count) if labels is None else labels)


def after(target: Any, epsilon: float) -> Tensor:
    found: Tensor = target.after(FGSM(epsilon=epsilon, norm="sign") if epsilon else None, 0)
    return found


def test_the_error_of_a_linear_classifier_grows_as_its_margins_say() -> None:
    """An image is lost as soon as epsilon times the length of the difference of the weights exceeds its log odds."""
    network = linear(2)
    labels = network(data().values).argmax(1)
    target = Classifier(data(labels=labels), network)
    logits = network(data().values).detach()
    margin = (logits[:, 0] - logits[:, 1]).abs()
    slope = (network[1].weight[0] - network[1].weight[1]).abs().sum()  # type: ignore[index]
    results = target.results({epsilon: after(target, epsilon) for epsilon in EPSILONS})
    expected = [(margin < epsilon * slope).double().mean().item() for epsilon in EPSILONS]
    assert [row["test_error"] for row in results.values()] == pytest.approx(expected)
    assert 0 == expected[0] < expected[1] < expected[-1]
    assert results[0.0]["confidence"] == pytest.approx(margin.sigmoid().mean().item())


def test_generated_images_pass_as_soon_as_the_step_is_long_enough() -> None:
    """Of a linear critic: the lacking score divided by the sum of its absolute weights."""
    critic = linear(1)
    gan = GAN(Game(nn.Identity(), critic, Wasserstein()), nn.Identity(), Gaussian(latent_dim=2))
    scores = critic(data().values).detach()[:, 0]
    real = (scores + 0.05).sort().values
    target = Critic(data(), gan, real)
    lacking = (real.median() - scores) / critic[1].weight.abs().sum()  # type: ignore[index]
    results = target.results({epsilon: after(target, epsilon) for epsilon in EPSILONS})
    expected = [(lacking < epsilon).double().mean().item() for epsilon in EPSILONS]
    assert [row["share_passing"] for row in results.values()] == pytest.approx(expected)
    assert expected[0] < expected[1] < expected[-1]
    caption = (real < scores[0]).double().mean().item()
    assert target.captions(scores)[0] == f"{caption:.0%}"


def test_an_image_that_passes_with_a_small_step_counts_with_larger_ones() -> None:
    gan = GAN(Game(nn.Identity(), linear(1), Wasserstein()), nn.Identity(), Gaussian(latent_dim=2))
    target = Critic(data(4), gan, torch.tensor([0.0]))
    scores = {0.0: [-1.0, 1.0, -1.0, -1.0], 0.1: [1.0, -1.0, -1.0, -1.0], 0.2: [-1.0, -1.0, 1.0, -1.0]}
    results = target.results({epsilon: torch.tensor(row) for epsilon, row in scores.items()})
    assert [row["share_passing"] for row in results.values()] == [0.25, 0.5, 0.75]


def test_every_batch_has_a_random_state_of_its_own() -> None:
    def draw(seed: int, count: int) -> Tensor:
        return answers(data(count), lambda shown: torch.rand(len(shown)), seed, "images")

    whole = draw(0, BATCH + 10)
    assert torch.equal(whole, draw(0, BATCH + 10))
    assert torch.equal(whole[:BATCH], draw(0, BATCH))
    assert not torch.equal(whole[:10], whole[BATCH:])
    assert not torch.equal(whole, draw(1, BATCH + 10))


def test_examples_are_first_those_that_turned_of_each_class() -> None:
    labels = torch.tensor([0, 0, 1, 1, 0, 1, 0, 1, 0, 1])
    target = Classifier(data(10, labels), lambda images: images.flatten(1))
    right = nn.functional.one_hot(labels, 2).double()
    turned, already = [1, 4, 5, 6, 7], [0, 9]
    clean, attacked = right.clone(), right.clone()
    attacked[turned] = clean[turned].flip(1)
    clean[already] = attacked[already] = right[already].flip(1)
    assert examples(target, clean, attacked) == [1, 5, 4, 7, 6, 2, 3, 8]


@pytest.fixture
def checked() -> Callable[..., dict[str, Any]]:
    def check(*overrides: str) -> dict[str, Any]:
        typed = ["checkpoint=run", *overrides]
        sampler = "drs" if "latent_sampler=drs" in typed else None
        return read_evaluation(composed_config(*typed, config_name="eval"), typed, sampler)

    return check


def test_one_epsilon_or_several(checked: Callable[..., dict[str, Any]]) -> None:
    assert checked()["attacks"] == []
    assert checked("attack=none")["attacks"] == []
    (only,) = checked("attack=fgsm", "attack.epsilon=0.1")["attacks"]
    assert only == {"_target_": "gan_cli.attacks.fgsm.FGSM", "epsilon": 0.1, "norm": "sign"}
    several = checked("attack=pgd", "attack.norm=l2", "attack.epsilon=[1,0.5]")["attacks"]
    assert [(node["epsilon"], node["norm"], node["steps"]) for node in several] == [(0.5, "l2", 10), (1.0, "l2", 10)]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["attack=fgsm", "attack.epsilon=[]"], "attack.epsilon=[] is empty: give a number"),
        (["attack=fgsm", "attack.epsilon=[0.1,far]"], "attack.epsilon=far must be a number"),
        (["attack=fgsm", "attack.norm=l3"], "attack.norm=l3 must be one of sign, l2"),
        (["attack=fgsm", "+attack.steps=3"], "unknown key 'attack.steps'"),
        (["attack=pgd", "attack._target_=gan_cli.objectives.Hinge"], "is not a Attack"),
        (["attack=fgsm", "latent_sampler=drs"], "remove latent_sampler="),
    ],
)
def test_what_is_no_attack_is_refused_in_one_line(
    checked: Callable[..., dict[str, Any]], overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError) as refusal:
        checked(*overrides)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_the_discriminator_of_a_run_is_attacked(command: Command) -> None:
    command("train", *TINY, "steps=2", "device=cpu", "run_dir=run")
    words = ["checkpoint=run", "device=cpu", "attack=pgd", "attack.steps=3", "num_eval_images=30"]
    code, out, err = command("eval", *words, "out=one")
    assert code == 0, err
    result = json.loads(out)
    assert json.loads(Path("one/result.json").read_text()) == result
    assert [row["epsilon"] for row in result["results"]] == [0, 0.02, 0.05, 0.1, 0.2, 0.4]
    shares = [row["share_passing"] for row in result["results"]]
    assert shares == sorted(shares)
    scores = [row["mean_score"] for row in result["results"]]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]
    assert result["attack"]["steps"] == 3
    assert result["protocol"]["num_attacked"] == 30
    assert "epsilon 0.02" in err
    for name in ("curve.png", "examples.png"):
        with Image.open(Path("one") / name) as picture:
            assert picture.width > 400
    again = json.loads(command("eval", *words, "out=two")[1])
    assert again | {"folder": "one"} == result
    one = json.loads(command("eval", *words, "attack.epsilon=0.1")[1])
    assert one["results"] == [result["results"][0], result["results"][3]]
    for refused, message in (
        (["attack.epsilon=-0.1"], "attack: epsilon=-0.1 must be at least 0"),
        (["attack=fgms"], "unknown attack 'fgms': did you mean fgsm?"),
        (["images=run/samples", "dataset=digits"], "checkpoint and images exclude each other"),
    ):
        code, out, err = command(
            "eval", *words[:-3], *(["attack=pgd"] if "attack.epsilon" in refused[0] else []), *refused
        )
        assert (code != 0, out, err.count("\n")) == (True, "", 1), err
        assert message in err


@pytest.mark.slow
def test_what_classifies_is_attacked_on_held_out_images(command: Command) -> None:
    """Also beside a generator; a conditional discriminator that does not classify is given the labels of images."""
    attack = ["device=cpu", "attack=ifgsm", "attack.norm=l2", "attack.epsilon=[1,4]", "num_eval_images=40"]
    for name, held_out, key in (("auxiliary", 50, "test_error"), ("projection", 0, "share_passing")):
        words = [*TINY, "steps=2", f"conditioning={name}", f"dataset.num_held_out={held_out}", f"run_dir={name}"]
        code, _, err = command("train", *words, "device=cpu")
        assert code == 0, err
        code, out, err = command("eval", f"checkpoint={name}", *attack, f"out={name}_attacked")
        assert code == 0, err
        result = json.loads(out)
        values = [row[key] for row in result["results"]]
        assert [row["epsilon"] for row in result["results"]] == [0, 1, 4]
        assert values == sorted(values)
        assert values[0] < values[-1]
        assert result["protocol"]["num_attacked"] == 40
        assert (Path(f"{name}_attacked") / "examples.png").is_file()
    command("train", *TINY, "steps=1", "conditioning=auxiliary", "device=cpu", "run_dir=all")
    code, out, err = command("eval", "checkpoint=all", *attack)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "there are no images to attack the classifier on: Digits has no held-out images" in err
