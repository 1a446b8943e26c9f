"""What gan-eval does with an attack: how far images are moved until the network of a checkpoint errs on them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_cli.attacks import Attack, answers
from gan_cli.attacks.answers import BATCH
from gan_cli.commands.out import conclude, folder_for, writing
from gan_cli.config.build import build, build_settings, load_training_set
from gan_cli.data import TrainingSet
from gan_cli.engine import Engine
from gan_cli.errors import UserError, one_line
from gan_cli.evaluation import classifying, generate
from gan_cli.experiment import GAN
from gan_cli.metrics.metrics import Classify
from gan_cli.runs import pictures
from gan_cli.runs.progress import showing_work
from gan_cli.runs.summary import console, scores_table
from gan_cli.runs.trained import Trained, open_trained
from gan_cli.shapes import Examples, Images, Scores

MOST_GENERATED = 1000  # images that are attacked unless the user says how many
NUM_SHOWN = 8


@dataclass(frozen=True)
class Target(ABC):
    """Images, and the network that answers to them; an attack wants wrong answers."""

    data: TrainingSet

    leading = ""  # the key of the results that a curve shows
    title = ""
    note = ""

    def first_batch(self) -> TrainingSet:
        return replace(self.data, values=self.data.values[:BATCH], labels=self.data.labels[:BATCH])

    @abstractmethod
    def answer(self, shown: Examples) -> Tensor:
        """One row of numbers for each image."""

    @abstractmethod
    def moved(self, attack: Attack, shown: Examples) -> Images: ...

    @abstractmethod
    def wrong(self, answered: Tensor) -> Tensor:
        """Which of the first images' answers are what an attack wants."""

    @abstractmethod
    def results(self, answered: Mapping[float, Tensor]) -> dict[float, dict[str, float]]:
        """Numbers for each epsilon, of the answers at it; epsilons increase."""

    @abstractmethod
    def captions(self, answered: Tensor) -> list[str]: ...

    def after(self, attack: Attack | None, seed: int) -> Tensor:
        """The answers to all images, moved by the attack."""
        if attack is None:
            return answers(self.data, self.answer, seed, "clean images")
        return answers(
            self.data,
            lambda shown: self.answer(shown.with_images(self.moved(attack, shown))),
            seed,
            f"images attacked with epsilon={attack.epsilon:g}",
        )


@dataclass(frozen=True)
class Classifier(Target):
    """Held-out images, and the class logits of the discriminator."""

    classify: Classify

    leading = "test_error"
    title = "test error"
    note = "over each image: the answer, and its probability"

    def answer(self, shown: Examples) -> Tensor:
        with torch.no_grad():
            return self.classify(shown.images)

    def moved(self, attack: Attack, shown: Examples) -> Images:
        return attack.misleading(self.classify, shown.images, shown.labels)

    def wrong(self, answered: Tensor) -> Tensor:
        return answered.argmax(1) != self.data.labels[: len(answered)].cpu()

    def results(self, answered: Mapping[float, Tensor]) -> dict[float, dict[str, float]]:
        """The share of wrong answers, and the mean probability of the answers, right or wrong."""
        return {
            epsilon: {
                "test_error": self.wrong(logits).double().mean().item(),
                "confidence": logits.double().softmax(1).amax(1).mean().item(),
            }
            for epsilon, logits in answered.items()
        }

    def captions(self, answered: Tensor) -> list[str]:
        probabilities, classes = answered.double().softmax(1).max(1)
        return [f"{label} ({p:.0%})" for label, p in zip(classes.tolist(), probabilities.tolist(), strict=True)]


@dataclass(frozen=True)
class Critic(Target):
    """Generated images, and the score of the discriminator; one passes as real with more than the median real score."""

    gan: GAN
    real_scores: Tensor  # in increasing order

    leading = "share_passing"
    title = "generated images that pass as real"
    note = "over each image: the share of real images that score lower"

    def answer(self, shown: Examples) -> Tensor:
        with torch.no_grad():
            return score(self.gan, shown)

    def moved(self, attack: Attack, shown: Examples) -> Images:
        return attack.perturbed(lambda images: score(self.gan, shown.with_images(images)), shown.images)

    def wrong(self, answered: Tensor) -> Tensor:
        return answered > self.real_scores.median()

    def results(self, answered: Mapping[float, Tensor]) -> dict[float, dict[str, float]]:
        """The share of images that pass with this epsilon or a smaller one, and the mean score.

        A single step may go too far: an image that passes with a small epsilon need not pass with a larger one.
        """
        passed, found = torch.zeros(len(self.data), dtype=torch.bool), {}
        for epsilon, scores in answered.items():
            passed |= self.wrong(scores)
            found[epsilon] = {"share_passing": passed.double().mean().item(), "mean_score": scores.mean().item()}
        return found

    def captions(self, answered: Tensor) -> list[str]:
        lower = torch.searchsorted(self.real_scores, answered).double() / len(self.real_scores)
        return [f"{share:.0%}" for share in lower.tolist()]


def score(gan: GAN, shown: Examples) -> Scores:
    with gan.at_rest() as game:
        return game.score(shown)


def attack(options: dict[str, Any], engine: Engine) -> None:
    """Answers before and after the attack with each epsilon: JSON on stdout and in a file, a table on stderr, pictures.

    Attacks the classifier of a checkpoint on held-out images; without class logits, the discriminator on generated
    ones: how small a step makes them pass as real.
    """
    root = options["dataset"].get("root")
    trained = open_trained(
        Path(options["checkpoint"]), options["which"], options["trust"], root, engine, options["ema"]
    )
    attacks: list[Attack] = [build("attack", node) for node in options["attacks"]]
    kind = attacks[0].name.rpartition("_")[0]
    out = folder_for(options, f"{trained.name}-{kind}")
    settings = build_settings(trained.config)
    seed = settings.evaluation_seed if options["evaluation_seed"] is None else options["evaluation_seed"]
    with showing_work():
        target, protocol = target_of(trained, options["num_eval_images"], seed, engine)
        answered = {0.0: target.after(None, seed)}
        answered |= {attack.epsilon: target.after(attack, seed) for attack in attacks if attack.epsilon}
    rows = target.results(answered)
    columns = {
        key: {f"epsilon {epsilon:g}" if epsilon else "clean": row[key] for epsilon, row in rows.items()}
        for key in rows[0.0]
    }
    console(stderr=True).print(scores_table(f"{kind}, {len(target.data):,} images, step {trained.found.step}", columns))
    node = {key: value for key, value in options["attacks"][0].items() if key != "epsilon"}
    result = {
        "checkpoint": str(trained.found.folder),
        "step": trained.found.step,
        "attack": node,
        "results": [{"epsilon": epsilon, **row} for epsilon, row in rows.items()],
        "protocol": protocol | {"num_attacked": len(target.data), "evaluation_seed": seed},
    }
    conclude(out, result)
    with writing(out):
        draw(out, target, [attack for attack in attacks if attack.epsilon], answered, seed)


def target_of(trained: Trained, count: int | None, seed: int, engine: Engine) -> tuple[Target, dict[str, Any]]:
    """What is attacked, and how it was chosen; raises UserError for a classifier without labelled held-out images."""
    classify, protocol = classifying(trained.gan), dict(trained.dataset.protocol)
    if classify is not None:
        try:
            held_out = trained.dataset.held_out()
        except ValueError as error:
            raise UserError(f"there are no images to attack the classifier on: {one_line(error)}") from error
        rows = (held_out.labels >= 0).nonzero().flatten()[:count]
        if not len(rows):
            raise UserError("the held-out images have no labels, so no answer is wrong: choose another data set")
        test = TrainingSet(held_out.values[rows], held_out.labels[rows]).identified()
        return Classifier(test.to_engine(engine), classify), protocol | {"test_sha256": test.digest}
    if not trained.gan.game.objective.judges:
        raise UserError("there is nothing to attack: the run trained no discriminator")
    gan, real = trained.gan, load_training_set(trained.dataset).to_engine(engine)
    made = generate(gan, count or MOST_GENERATED, seed, gan.calibration(real), trained.dataset.stored)
    fake = TrainingSet(made.values, made.labels).to_engine(engine)
    chosen = torch.linspace(0, len(real) - 1, min(len(fake), len(real))).round().long()
    some = TrainingSet(real.values[chosen.to(real.values.device)], real.labels[chosen.to(real.labels.device)])
    critic = Critic(fake, gan, torch.zeros(1))
    scores = answers(some.to_engine(engine), critic.answer, seed, "real images").sort().values
    protocol |= {"weights": trained.weights, "num_real": len(some), "median_real_score": scores.median().item()}
    return replace(critic, real_scores=scores), protocol


def draw(out: Path, target: Target, attacks: list[Attack], answered: dict[float, Tensor], seed: int) -> None:
    """curve.png, and where images are no points, examples.png: images, what is added to them, and both answers.

    The examples are of the smallest epsilon that makes half of the answers wrong, or else of the largest.
    """
    if not attacks:
        return
    curve = {epsilon: row[target.leading] for epsilon, row in target.results(answered).items()}
    unit = "length of an image's change" if attacks[0].norm == "l2" else "largest change of a pixel in [-1, 1]"
    pictures.save_attack_curve(out / "curve.png", curve, f"epsilon: {unit}", target.title)
    if pictures.are_points(target.data.image_shape):
        return
    shown = next((attack for attack in attacks if curve[attack.epsilon] >= 0.5), attacks[-1])
    clean, attacked = answered[0.0], answered[shown.epsilon]
    rows = examples(target, clean, attacked)
    first = target.first_batch()
    moved = answers(first, lambda batch: target.moved(shown, batch), seed, "images for a picture")
    before, after = first.batch(torch.tensor(rows)).images.cpu(), moved[rows]
    pictures.save_attacked(
        out / "examples.png",
        (before, after),
        ([target.captions(clean)[row] for row in rows], [target.captions(attacked)[row] for row in rows]),
        (target.wrong(clean)[rows].tolist(), target.wrong(attacked)[rows].tolist()),
        f"{type(shown).__name__}, epsilon {shown.epsilon:g}: {unit}\n"
        f"{target.title}: {curve[0.0]:.1%}, attacked {curve[shown.epsilon]:.1%}\n{target.note}",
    )


def examples(target: Target, clean: Tensor, attacked: Tensor) -> list[int]:
    """Rows of the first batch, those first whose answers an attack makes wrong, and one of each class in turn."""
    labels = target.first_batch().labels.cpu()
    already = target.wrong(clean)[: len(labels)]
    turned = target.wrong(attacked)[: len(labels)] & ~already
    rank = [int((turned & (labels == labels[row]))[:row].sum()) for row in range(len(labels))]
    order = sorted(range(len(labels)), key=lambda row: (not turned[row], bool(already[row]), rank[row], row))
    return order[:NUM_SHOWN]
