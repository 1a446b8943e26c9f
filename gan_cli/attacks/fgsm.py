"""The fast gradient sign method (Goodfellow et al. 2015, arXiv:1412.6572)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gan_cli.attacks.attack import Attack, ascent
from gan_cli.shapes import Images


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step of `epsilon` along the sign of the loss's gradient (section 4), or with norm "l2" along the gradient."""

    def perturbed(self, loss: Callable[[Images], Tensor], images: Images) -> Images:
        return ascent(loss, images, epsilon=self.epsilon, steps=1, step_size=self.epsilon, norm=self.norm)
