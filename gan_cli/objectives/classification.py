"""Classification: the discriminator predicts the classes of real images, and there are no generated ones."""

from dataclasses import dataclass

from torch.nn.functional import cross_entropy, kl_div, log_softmax

from gan_cli.objectives.objective import Objective
from gan_cli.shapes import Labels, Logits, Loss, Scores


@dataclass(frozen=True, kw_only=True)
class ClassLogits(Objective):
    """An objective that reads one logit for each of `num_classes` classes, and learns them from labelled images."""

    num_classes: int

    logits_are_classes = True

    @property
    def num_outcomes(self) -> int:  # type: ignore[override]
        return self.num_classes

    def supervised_loss(self, logits: Logits, labels: Labels) -> Loss:
        """The mean cross entropy of the images with a label, in nats; 0 if there are none."""
        total = cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        return total / (labels >= 0).sum().clamp(min=1)

    def disagreement(self, logits: Logits, others: Logits) -> Scores:
        """The KL divergence of the class distribution of `others` from that of `logits`, in nats."""
        log_p, log_q = log_softmax(logits, 1), log_softmax(others, 1)
        return kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)


@dataclass(frozen=True, kw_only=True)
class Classification(ClassLogits):
    """Cross entropy of the labelled images; the score of an image is the largest log probability of a class."""

    players = ("discriminator",)
    generator_reads_real = False

    def score(self, logits: Logits) -> Scores:
        return log_softmax(logits, 1).amax(1)

    def discriminator_loss(self, real_logits: Logits, fake_logits: Logits) -> Loss:
        raise RuntimeError("classification has no adversarial loss")

    def generator_loss(self, real_logits: Logits | None, fake_logits: Logits) -> Loss:
        raise RuntimeError("classification has no generator")
