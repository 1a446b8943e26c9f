"""The data-to-data cross entropy of ReACGAN (Kang et al. 2021, arXiv:2111.01118)."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Interval

from gan_cli.regularizers.classification import OfEmbeddings, logsumexp_with
from gan_cli.shapes import Labels, Outputs, Scores


@dataclass(frozen=True, kw_only=True)
class D2DCE(OfEmbeddings):
    """Draws an image's embedding to the proxy of its label, away from the images of other classes.

    An image whose cosine with its proxy is above `margin` is not drawn closer, and one whose cosine with an image of
    another class is below 1 - `margin` is not pushed further away. The value is the paper's; the authors' code takes
    each row's maximum from a part of the fraction alone. Raises ValueError unless the temperature is above 0 and the
    margin in [-1, 1].
    """

    temperature: Annotated[float, Gt(0)]
    margin: Annotated[float, Interval(ge=-1, le=1)]

    def losses(self, outputs: Outputs, labels: Labels) -> Scores:
        own, pairs = self.cosines(outputs, labels)
        to_proxy = (own - self.margin).clamp(max=0) / self.temperature
        to_others = (pairs - (1 - self.margin)).clamp(min=0) / self.temperature
        negatives = (labels >= 0) & (labels[:, None] != labels)
        return logsumexp_with(to_proxy, to_others, negatives) - to_proxy
