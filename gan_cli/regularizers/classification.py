"""Cross entropy of the discriminator's classes, for either player (ACGAN, Odena et al. 2017, arXiv:1610.09585)."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gan_cli.game import Game, Turn
from gan_cli.networks import embeds
from gan_cli.regularizers.regularizer import Regularizer
from gan_cli.shapes import Labels, Loss, Outputs, Scores


@dataclass(frozen=True, kw_only=True)
class OfClasses(Regularizer):
    """A loss of what the discriminator makes of classes, in the loss of `player`.

    `images` says of which: real, fake or both, their sum; the generator's can only be of fake ones. Images without a
    label do not count. Raises ValueError for another choice.
    """

    player: Literal["discriminator", "generator"]
    images: Literal["real", "fake", "both"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.player == "generator" and self.images != "fake":
            raise ValueError(f"images={self.images} must be fake for the generator, which makes no others")

    @abstractmethod
    def losses(self, outputs: Outputs, labels: Labels) -> Scores:
        """One loss for each image; what it gives for those of label -1 is ignored, and they affect no other."""

    def penalty(self, game: Game, turn: Turn) -> Loss:
        terms = []
        if self.images != "fake":
            judged = turn.real_outputs if turn.labelled is turn.real else None
            terms.append(self.mean(game, judged or game.outputs(turn.labelled), turn.labelled.labels))
        if self.images != "real":
            terms.append(self.mean(game, turn.fake_outputs, turn.fake.labels))
        return torch.stack(terms).sum()

    def mean(self, game: Game, outputs: Outputs, labels: Labels) -> Loss:
        """Over the images with a label; 0 if there are none."""
        (outputs,), labels = game.everywhere(outputs), game.rows_everywhere(labels)
        labelled = labels >= 0
        return self.losses(outputs, labels).where(labelled, 0).sum() / labelled.sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Classification(OfClasses):
    """The cross entropy between labels and class logits (section 3, L_C)."""

    def check(self, game: Game) -> None:
        if game.objective.logits_are_classes and self.player == "discriminator":
            raise ValueError(f"{type(game.objective).__name__} learns the classes by itself: remove this regularizer")
        if not game.classifies:
            raise ValueError(
                "the discriminator has no class logits: "
                "set discriminator_labels=auxiliary or twin_logits, or remove this regularizer"
            )

    def losses(self, outputs: Outputs, labels: Labels) -> Scores:
        assert outputs.class_logits is not None
        return cross_entropy(outputs.class_logits, labels, ignore_index=-1, reduction="none")


class OfEmbeddings(OfClasses):
    """A loss of the embeddings of images beside the proxies of their classes."""

    compares_images = True

    def check(self, game: Game) -> None:
        if not embeds(game.discriminator):
            raise ValueError(
                "the discriminator has no embedding: "
                "set discriminator_labels=contrastive or d2d_ce, or remove this regularizer"
            )

    def cosines(self, outputs: Outputs, labels: Labels) -> tuple[Scores, Tensor]:
        """Of each image with the proxy of its label [batch], and with every image [batch, batch]."""
        assert outputs.embedding is not None
        assert outputs.proxies is not None
        own = (outputs.embedding * outputs.proxies[labels.clamp(min=0)]).sum(1)
        return own, outputs.embedding @ outputs.embedding.T


def logsumexp_with(own: Scores, pairs: Tensor, counted: Tensor) -> Scores:
    """log(exp(own_i) + the sum of exp(pairs_ij) over the j that are counted), [batch]."""
    return torch.cat([own[:, None], pairs.masked_fill(~counted, -torch.inf)], 1).logsumexp(1)
