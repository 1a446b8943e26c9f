"""Whether a latent sampler gathers codes where the images are better (Li et al. 2022, AdvLatGAN, section 4).

It is measured where codes have two coordinates, so that their densities before and after the sampler can be estimated.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from gan_cli.metrics.metrics import Sample
from gan_cli.shapes import Codes

SHARE = 0.1  # of the images, that have the highest and the lowest ratio of densities


def latent_density(fake: Sample, real: Sample) -> dict[str, float]:
    """The classifier's mean confidence in the images whose codes' density grew the most, less in those where it fell.

    A confidence is the largest class probability, the change of density the ratio of two kernel estimates (Scott's
    bandwidth) at the image's own code. About 0 for a sampler that moves no code; no score unless codes have two
    coordinates, nor if all lie on a line.
    """
    if fake.refined is None or fake.refined.codes.shape[1] != 2:
        return {}
    before, after = fake.refined.drawn, fake.refined.codes
    if np.linalg.matrix_rank(np.cov(after.double().numpy().T)) < 2:
        return {}
    order = np.argsort(log_density(after, after) - log_density(before, after))
    confidence = fake.logits.softmax(1).amax(1).double().numpy()[order]
    count = max(1, round(SHARE * len(confidence)))
    return {"latent_density": float(confidence[-count:].mean() - confidence[:count].mean())}


def log_density(sample: Codes, places: Float[Tensor, "places latent"]) -> np.ndarray:
    """The log of the sample's kernel density estimate at these places."""
    from scipy.stats import gaussian_kde  # here: most runs do without, and it takes long to import

    estimate: np.ndarray = gaussian_kde(sample.double().numpy().T).logpdf(places.double().numpy().T)
    return estimate
