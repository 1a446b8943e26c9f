"""The conditional contrastive loss (2C) of ContraGAN (Kang and Park 2020, arXiv:2006.12681)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt

from gan_cli.regularizers.classification import OfEmbeddings, logsumexp_with
from gan_cli.shapes import Labels, Outputs, Scores


@dataclass(frozen=True, kw_only=True)
class Contrastive(OfEmbeddings):
    """Draws an image's embedding to the proxy of its label and to images of its class, away from all others.

    -log of the share that its proxy and its class have in exp(cosine / temperature), summed over its proxy and every
    other image of the batch. Raises ValueError unless the temperature is above 0.
    """

    temperature: Annotated[float, Gt(0)]

    def losses(self, outputs: Outputs, labels: Labels) -> Scores:
        own, pairs = (cosines / self.temperature for cosines in self.cosines(outputs, labels))
        others = (labels >= 0) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        same = labels[:, None] == labels
        return logsumexp_with(own, pairs, others) - logsumexp_with(own, pairs, others & same)
