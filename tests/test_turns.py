"""One turn: whose gradients it makes, and what it leaves alone."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gan_cli.config.compose import CONF
from gan_cli.experiment import Experiment
from gan_cli.feed import real_batches
from gan_cli.game import Game, Turn
from gan_cli.latent_samplers import LatentSampler
from gan_cli.objectives import StdGAN
from gan_cli.regularizers import Constraint, Regularizer
from gan_cli.regularizers.regularizer import Bound
from gan_cli.shapes import Codes, Examples, Latents, Logits, Loss
from gan_cli.trainer import train
from gan_cli.turns import Batch, Played, Rules, discriminator_turn, generator_turn
from tests.values import update

from .conftest import TINY
from .values import examples, latents

Build = Callable[..., Experiment]


class Constant(Regularizer):
    """A penalty of 3 for whichever player a subclass names."""

    def penalty(self, game: Game, turn: Turn) -> Loss:
        return torch.tensor(3.0)


class ForGenerator(Constant):
    player = "generator"


class ForDiscriminator(Constant):
    player = "discriminator"


def rules(tiny: Experiment, sampler: LatentSampler | None = None, bounds: Mapping[str, Bound] | None = None) -> Rules:
    """The experiment's own, but with this sampler and these bounds; without any, none."""
    return Rules(tiny.game, sampler or tiny.gan.latent_sampler, bounds or {})


def test_the_discriminator_turn_never_reaches_the_generator(experiment: Build) -> None:
    tiny = experiment(*TINY, "regularizer=r1")
    played = discriminator_turn(tiny.rules, next(real_batches(tiny, 0)), 1, 0)
    assert set(played.losses) == {"adversarial", "r1"}
    torch.stack(list(played.losses.values())).sum().backward()
    assert all(parameter.grad is None for parameter in tiny.game.generator.parameters())
    assert all(parameter.grad is not None for parameter in tiny.game.discriminator.parameters())


def test_the_generator_update_never_accumulates_in_the_discriminator(experiment: Build) -> None:
    tiny = experiment(*TINY)
    (generator,) = (player for player in tiny.players if player.name == "generator")
    losses = generator_turn(tiny.rules, next(real_batches(tiny, 0)), 1, 0).losses
    before = [parameter.clone() for parameter in tiny.game.discriminator.parameters()]
    weights = [parameter.clone() for parameter in generator.network.parameters()]
    update(generator, losses)
    assert all(parameter.grad is None for parameter in tiny.game.discriminator.parameters())
    assert all(map(torch.equal, before, tiny.game.discriminator.parameters()))
    assert not any(map(torch.equal, weights, tiny.game.generator.parameters()))


@pytest.mark.parametrize(("number", "passes"), [(1, 1), (2, 2), (3, 1)])
def test_the_generator_turn_scores_real_images_only_if_read(experiment: Build, number: int, passes: int) -> None:
    tiny = experiment(*TINY, "objective=realness", f"objective.generator_objective={number}")
    calls = []
    tiny.game.discriminator.register_forward_hook(lambda *_: calls.append(1))
    played = generator_turn(rules(tiny), next(real_batches(tiny, 0)), 1, 0)
    assert len(calls) == passes
    assert (played.turn.real_logits is not None) == (passes == 2)


def test_penalties_are_weighted_and_given_to_their_player(experiment: Build) -> None:
    tiny = experiment(*TINY)
    bounds = {"g": ForGenerator(weight=2.0), "d": ForDiscriminator(weight=0.5)}
    batch = next(real_batches(tiny, 0))
    theirs = discriminator_turn(rules(tiny, bounds=bounds), batch, 1, 0).losses
    ours = generator_turn(rules(tiny, bounds=bounds), batch, 1, 0).losses
    assert set(theirs) == {"adversarial", "d"}
    assert theirs["d"].item() == 1.5
    assert set(ours) == {"adversarial", "g"}
    assert ours["g"].item() == 6.0


def test_every_turn_of_a_step_gets_a_fresh_batch_and_counts_as_asked(experiment: Build) -> None:
    tiny = experiment(*TINY, "discriminator_steps=3", "generator_steps=2", "steps=1")
    batches = list(real_batches(tiny, 0))
    assert len(batches) == 5
    assert not torch.equal(batches[0].real.images, batches[1].real.images)
    list(train(tiny))
    for player in tiny.players:
        counted = {int(state["step"]) for state in player.optimizer.state.values()}
        assert counted == {{"discriminator": 3, "generator": 2}[player.name]}


def test_the_discriminator_turn_tells_real_from_fake(experiment: Build) -> None:
    tiny = experiment(*TINY)
    game, sampler, batch = tiny.game, tiny.gan.latent_sampler, next(real_batches(tiny, 0))
    torch.manual_seed(0)
    played = discriminator_turn(rules(tiny), batch, 1, 0)
    torch.manual_seed(0)
    fake = game.generator(sampler.sample(4, torch.device("cpu")))
    real_logits, fake_logits = game.discriminator(batch.real.images), game.discriminator(fake)
    expected = softplus(-real_logits).mean() + softplus(fake_logits).mean()
    torch.testing.assert_close(played.losses["adversarial"], expected)
    torch.testing.assert_close((played.turn.real_logits, played.turn.fake_logits), (real_logits, fake_logits))


def test_penalties_are_handed_real_and_fake_unswapped_with_their_labels(experiment: Build) -> None:
    seen = []

    class Spy(ForDiscriminator):
        def penalty(self, game: Game, turn: Turn) -> Loss:
            seen.append(turn)
            return torch.tensor(0.0)

    tiny = experiment(*TINY)
    batch = next(real_batches(tiny, 0))
    discriminator_turn(rules(tiny, bounds={"spy": Spy(weight=1.0)}), batch, 1, 0)
    assert seen[0].real is seen[0].labelled is batch.real
    assert (batch.real.labels >= 0).all()
    assert seen[0].fake.images is not batch.real.images
    assert torch.equal(seen[0].fake.labels, batch.real.labels)


class TwoFaced(LatentSampler):
    """Zeros for the discriminator, ones for the generator."""

    def sample(self, count: int, device: torch.device) -> Codes:
        return torch.full((count, 128), -1.0)

    def for_discriminator(self, game: Game, real: Examples) -> Latents:
        return latents(torch.zeros(len(real), 128))

    def for_generator(self, game: Game, real: Examples) -> Latents:
        return latents(torch.ones(len(real), 128))


def test_each_turn_asks_the_sampler_for_its_own_latents(experiment: Build) -> None:
    tiny, seen = experiment(*TINY), []
    tiny.game.generator.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].mean().item()))
    batch = next(real_batches(tiny, 0))
    discriminator_turn(rules(tiny, TwoFaced()), batch, 1, 0)
    generator_turn(rules(tiny, TwoFaced()), batch, 1, 0)
    assert seen == [0.0, 1.0]


def test_the_games_score_is_the_objectives(experiment: Build) -> None:
    tiny = experiment(*TINY, "objective=realness", "num_outcomes=5")
    game, real = tiny.game, next(real_batches(tiny, 0)).real
    torch.testing.assert_close(game.score(real), game.objective.score(game.discriminator(real.images)))


@pytest.mark.parametrize("every", [1, 3])
def test_a_lazy_penalty_comes_less_often_and_weighs_more(experiment: Build, every: int) -> None:
    tiny = experiment(*TINY)
    batch = next(real_batches(tiny, 0))
    lazy = {"d": ForDiscriminator(weight=0.5, every=every)}
    seen = {}
    for number in range(1, 7):
        losses = discriminator_turn(rules(tiny, bounds=lazy), batch, number, number - 1).losses
        if "d" in losses:
            seen[number] = losses["d"].item()
    assert seen == dict.fromkeys(range(every, 7, every), 1.5 * every)


REGULARIZERS = sorted(path.stem for path in (CONF / "regularizer").glob("*.yaml"))
CLASSIFIES = ["discriminator_labels._target_=gan_cli.conditioning.auxiliary.Auxiliary"]
EMBEDS = ["discriminator_labels._target_=gan_cli.conditioning.proxies.Proxies", "+discriminator_labels.dim=4"]
HEADS = {  # what a penalty reads of the discriminator
    "classification": CLASSIFIES,
    "entropy_minimisation": CLASSIFIES,
    "contrastive": EMBEDS,
    "d2d_ce": EMBEDS,
}
TERMS = {"zcr": ["zcr", "generator_zcr"]}  # of choices with several
NO_PENALTIES = {"none", "spectral_norm", "generator_spectral_norm", "weight_clipping", "unit_direction"}
STYLES = {"path_length": ["model=stylegan2", "model.generator.mixing=0.9"]}  # what a choice cannot do without
PENALTIES = sorted(set(REGULARIZERS) - NO_PENALTIES - {"latent_distance"})  # which has a test beside its sampler


SAMPLERS = ["gaussian", "advlat_qua", "advlat_div"]


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        pytest.param(name, sampler, marks=[] if number % 6 == place else [pytest.mark.slow])
        for number, name in enumerate(PENALTIES)
        for place, sampler in enumerate(SAMPLERS)
    ],
)
def test_a_penalty_of_no_weight_changes_nothing_else_of_a_run(experiment: Build, name: str, sampler: str) -> None:
    """Bitwise: no gradient, running statistic, singular vector or random draw of the rest of the step is disturbed.

    With batch norm, spectral norm, anchors drawn at random and a noisy head, so that there is something to disturb.
    """
    settings = [*TINY, "objective=realness", "objective.feature_resampling=true", "discriminator_steps=2"]
    settings += [f"latent_sampler={sampler}", *HEADS.get(name.removeprefix("generator_"), []), *STYLES.get(name, [])]
    without = experiment(*settings, "regularizer=spectral_norm")
    beside = experiment(
        *settings,
        f"regularizer=[spectral_norm,{name}]",
        *(f"regularizer.{term}.weight=0.0" for term in TERMS.get(name, [name])),
        *([f"regularizer.{name}.every=1"] if name in STYLES else []),  # else in no turn of three steps
    )
    for first, second in zip(train(without), train(beside), strict=True):
        for player, terms in first.losses.items():
            assert torch.equal(terms["adversarial"], second.losses[player]["adversarial"])
    for part, module in without.gan.parts().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, beside.gan.parts()[part].state_dict()[key]), f"{part} {key}"


def test_noise_differs_between_turns_and_between_penalties(experiment: Build) -> None:
    drawn = []

    class Noisy(ForDiscriminator):
        def penalty(self, game: Game, turn: Turn) -> Loss:
            drawn.append(torch.rand(()).item())
            return torch.tensor(0.0)

    tiny = experiment(*TINY, "discriminator_steps=2", "steps=2")
    tiny.bounds.clear()
    tiny.bounds.update(one=Noisy(weight=1.0), other=Noisy(weight=1.0))
    list(train(tiny))
    assert len(set(drawn)) == 2 * 2 * 2


def test_weights_are_clipped_after_every_update_of_their_player_alone(experiment: Build) -> None:
    tiny = experiment(*TINY, "objective=wgan", "discriminator_steps=2")
    for step in train(tiny):
        assert max(weight.abs().max().item() for weight in tiny.game.discriminator.parameters()) <= 0.01
        assert set(step.losses["discriminator"]) == {"adversarial"}
    assert max(weight.abs().max().item() for weight in tiny.game.generator.parameters()) > 0.01
    assert set(tiny.bounds) == {"weight_clipping"}


def test_turns_are_counted_for_each_player(experiment: Build) -> None:
    """Every third of six turns of the discriminator, and every second of three of the generator."""
    calls: list[str] = []

    class Counted(ForDiscriminator):
        def penalty(self, game: Game, turn: Turn) -> Loss:
            calls.append("discriminator")
            return torch.tensor(0.0)

    class CountedToo(ForGenerator):
        def penalty(self, game: Game, turn: Turn) -> Loss:
            calls.append("generator")
            return torch.tensor(0.0)

    tiny = experiment(*TINY, "discriminator_steps=2")
    tiny.bounds.clear()
    tiny.bounds.update(d=Counted(weight=1.0, every=3), g=CountedToo(weight=1.0, every=2))
    seen = []
    for step in train(tiny):
        seen.append((step.number, *calls))
        calls.clear()
    assert seen == [(1,), (2, "discriminator", "generator"), (3, "discriminator")]


def test_constraints_follow_every_update_of_their_player(experiment: Build) -> None:
    calls = []

    class Spy(Constraint):
        player = "discriminator"

        def after_update(self, network: nn.Module) -> None:
            calls.append(network)

    tiny = experiment(*TINY, "discriminator_steps=2")
    tiny.bounds["spy"] = Spy()
    list(train(tiny))
    assert calls == [tiny.game.discriminator] * 6


def test_real_images_carry_no_gradient_to_the_generator(experiment: Build) -> None:
    seen: list[Logits] = []

    class Spy(StdGAN):
        generator_reads_real = True

        def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
            assert real_logits is not None
            seen.append(real_logits)
            return super().generator_loss(real_logits, fake_logits)

    tiny = experiment(*TINY).game
    game = Game(tiny.generator, tiny.discriminator, Spy(saturating=False))
    real, drawn = examples(torch.zeros(4, 1, 16, 16)), latents(torch.zeros(4, 128))
    loss = game.generator_loss_against(real)(drawn)
    played = generator_turn(Rules(game, TwoFaced(), {}), Batch(real, real), 1, 0)
    for logits in seen:
        assert len(logits) == 4
        assert not logits.requires_grad
    assert len(seen) == 2
    assert loss.requires_grad
    assert played.losses["adversarial"].requires_grad


def test_what_the_generators_loss_does_not_read_is_not_there(experiment: Build) -> None:
    """None, and not an empty tensor: a loss that reads it all the same fails at once."""
    seen = []

    class Spy(StdGAN):
        def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
            seen.append(real_logits)
            return super().generator_loss(real_logits, fake_logits)

    tiny = experiment(*TINY).game
    game = Game(tiny.generator, tiny.discriminator, Spy(saturating=False))
    real = examples(torch.zeros(4, 1, 16, 16))
    played: Played = generator_turn(Rules(game, TwoFaced(), {}), Batch(real, real), 1, 0)
    game.generator_loss_against(None)(latents(torch.zeros(4, 128)))
    assert seen == [None, None]
    assert played.turn.real_logits is None


def test_a_loss_that_reads_real_images_asks_for_them(experiment: Build) -> None:
    game = experiment(*TINY, "objective=relativistic").game
    with pytest.raises(ValueError, match="the generator's loss of Relativistic reads real images"):
        game.generator_loss_against(None)


@pytest.mark.filterwarnings("error")
def test_a_penalty_that_is_never_due_is_told_of(experiment: Build) -> None:
    with pytest.warns(UserWarning, match=r"r1.every=4 is more than the 3 turns"):
        experiment(*TINY, "regularizer.r1.every=4")
    experiment(*TINY, "regularizer.r1.every=3")
