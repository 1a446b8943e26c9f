"""Authenticity: the share of generated images that are no copies of a training image.

Alaa et al. 2022 (arXiv:2102.08921), section 3.3. Of two samples of one law about half of the images are authentic
in few dimensions, and more in many; images far from the data are, too, so it says nothing about quality.
"""

from gan_cli.metrics.metrics import Sample
from gan_cli.metrics.neighbours import nearest


def authenticity(fake: Sample, real: Sample) -> dict[str, float]:
    """An image is authentic if its nearest training image has another training image that is closer to it."""
    distances, rows = nearest(fake.features, real.features, 1)
    authentic = distances > real.neighbour_distances[rows, 0]
    return {"authenticity": authentic.double().mean().item()}
