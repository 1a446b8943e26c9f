"""How well the discriminator classifies images that training never sees."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy

from gan_cli.attacks import Attack, misled
from gan_cli.data import TrainingSet
from gan_cli.errors import UserError
from gan_cli.metrics.metrics import Direction, Metrics, Protocol, Scorer, Subject
from gan_cli.shapes import Labels, Logits
from gan_cli.work import track


@dataclass(frozen=True, kw_only=True)
class ClassificationMetrics(Metrics):
    """The test error, on the data set's held-out images, of which `batch_size` are classified at a time.

    And the test error on the same images moved by each of `attacks`. Raises ValueError for two attacks of one name.
    """

    reads_images: ClassVar[bool] = False

    batch_size: Annotated[int, Ge(1)]
    attacks: Sequence[Attack]

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [attack.name for attack in self.attacks]
        if len(set(names)) < len(names):
            raise ValueError(
                f"attacks={', '.join(names)} must differ in kind, norm or epsilon: they are one column each"
            )

    @property
    def reads_held_out(self) -> bool:
        return True

    def against(self, training_set: TrainingSet, num_fake: int) -> "ClassificationScorer":
        """Raises ValueError for held-out images without labels."""
        held_out = training_set.held_out
        assert held_out is not None
        if held_out.labels.min() < 0:
            raise ValueError("the held-out images have no labels, which a test error needs: choose other metrics")
        return ClassificationScorer(
            replace(held_out.identified(), device=training_set.device), self.batch_size, self.attacks
        )


@dataclass(frozen=True)
class ClassificationScorer(Scorer):
    """Scores the classifier on every image of `test`."""

    test: TrainingSet
    batch_size: int
    attacks: Sequence[Attack]

    reads_images = False
    leading = "test_error"

    @property
    def headlines(self) -> Sequence[str]:  # type: ignore[override]
        return ("test_error", *map(attacked, self.attacks))

    @property
    def directions(self) -> Mapping[str, Direction]:  # type: ignore[override]
        return dict.fromkeys([*self.headlines, "test_cross_entropy"], "lower")

    @property
    def protocol(self) -> Protocol:
        assert self.test.digest is not None
        stamp: Protocol = {"num_test": len(self.test), "test_sha256": self.test.digest}
        return stamp | {attacked(attack): str(attack) for attack in self.attacks}

    def score(self, subject: Subject) -> dict[str, float]:
        """`test_error`, the share of images whose most likely class is a wrong one, also under each attack.

        And `test_cross_entropy`, in nats. Raises UserError for a discriminator that has no class logits.
        """
        wrong = cross_entropies = 0.0
        for logits, labels in self.classified(subject):
            wrong += (logits.argmax(1) != labels).sum().item()
            cross_entropies += cross_entropy(logits.double(), labels, reduction="sum").item()
        scores = {"test_error": wrong / len(self.test), "test_cross_entropy": cross_entropies / len(self.test)}
        assert subject.classify is not None
        for attack in self.attacks:
            answered = misled(subject.classify, self.test, attack, seed=0)
            scores[attacked(attack)] = (answered.argmax(1) != self.test.labels.cpu()).double().mean().item()
        return scores

    def floor(self) -> dict[str, float]:
        """Nothing: images are not compared with images."""
        return {}

    def confusion(self, subject: Subject) -> Tensor:
        pairs = [torch.stack([labels, logits.argmax(1)]).cpu() for logits, labels in self.classified(subject)]
        true, predicted = torch.cat(pairs, 1)
        num_classes = int(torch.maximum(true, predicted).max()) + 1
        return (true * num_classes + predicted).bincount(minlength=num_classes**2).reshape(num_classes, num_classes)

    def classified(self, subject: Subject) -> Iterator[tuple[Logits, Labels]]:
        """The class logits of each batch, and the labels."""
        if subject.classify is None:
            raise UserError(
                "the discriminator has no class logits, which test_error reads: set objective=classification, "
                "objective=semi_supervised or discriminator_labels=auxiliary, or choose other metrics"
            )
        for rows in track(torch.arange(len(self.test)).split(self.batch_size), "classifying held-out images, batch"):
            batch = self.test.batch(rows)
            with torch.no_grad():
                yield subject.classify(batch.images), batch.labels


def attacked(attack: Attack) -> str:
    """The key of the test error under this attack, as test_error_fgsm_0.1."""
    return f"test_error_{attack.name}"
