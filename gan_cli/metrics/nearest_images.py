"""Generated images beside their nearest training images: what no number about copying can replace."""

import torch

from gan_cli.metrics.metrics import NearestImages, Sample
from gan_cli.metrics.neighbours import nearest

NUM_SHOWN, NUM_NEAREST = 12, 3  # generated images, and training images of each
NUM_LOOKED_AT = 1_000  # generated images among which the closest are looked for


def nearest_images(fake: Sample, real: Sample) -> NearestImages:
    """The first generated images, and those that are closest to a training image for its own neighbourhood.

    Closest is a small ratio of the distance to the nearest training image and of that one's to its own nearest.
    """
    looked_at = fake.features[:NUM_LOOKED_AT]
    distances, rows = nearest(looked_at, real.features, NUM_NEAREST)
    own, _ = nearest(real.features[rows[:, 0]], real.features, 2)  # the first is the image itself, or its duplicate
    order = (distances[:, 0] / own[:, 1].clamp(min=torch.finfo(own.dtype).tiny)).argsort(stable=True)
    first, closest = torch.arange(min(NUM_SHOWN, len(looked_at))), order[:NUM_SHOWN]
    return NearestImages(*((pixels(fake, chosen), pixels(real, rows[chosen])) for chosen in (first, closest)))


def pixels(sample: Sample, rows: torch.Tensor) -> torch.Tensor:
    """The stored images of these rows of the sample, [*rows, channels, height, width], on the CPU."""
    places = rows.flatten() if sample.rows is None else sample.rows[rows.flatten()]
    chosen = sample.stored[places.to(sample.stored.device)].cpu()
    return chosen.reshape(*rows.shape, *chosen.shape[1:])
