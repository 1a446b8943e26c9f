"""The data-copying statistic C_T: whether generated images are nearer to the training images than held-out ones are.

Meehan, Chaudhuri and Dasgupta 2020 (arXiv:2004.05675), section 4. It is a z value: about 0 if generated and held-out
images are equally near, far below 0 for copies, far above 0 for images that do not resemble the data.
"""

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gan_cli.metrics.metrics import Sample
from gan_cli.metrics.neighbours import nearest

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

NUM_CELLS, NUM_COMPONENTS = 3, 64  # as the authors choose
MOST_FITTED = 10_000  # training images that the components and the cells are fitted to
FEWEST = 10  # images of either side in a cell that counts


def copying(fake: Sample, real: Sample) -> dict[str, float]:
    """The mean z value of the cells, weighted by their held-out images; no score if no cell has enough images."""
    from sklearn.cluster import KMeans  # here, as below: most runs do without these, which take long to import
    from sklearn.decomposition import PCA

    assert real.held_out is not None
    training, others = real.features.numpy(), (fake.features.numpy(), real.held_out.features.numpy())
    fitted = training[np.linspace(0, len(training) - 1, min(MOST_FITTED, len(training))).astype(int)]
    reduced = PCA(min(NUM_COMPONENTS, *fitted.shape), random_state=0).fit(fitted)
    cells = KMeans(min(NUM_CELLS, len(fitted)), n_init=1, random_state=0).fit(reduced.transform(fitted))
    base = torch.from_numpy(reduced.transform(training))
    of_fake, of_held_out = (in_cells(torch.from_numpy(reduced.transform(each)), base, cells) for each in others)
    pairs = [(a, b) for a, b in zip(of_fake, of_held_out, strict=True) if min(len(a), len(b)) >= FEWEST]
    if not pairs:
        return {}
    weights = [len(held_out) for _, held_out in pairs]
    scores = [z_value(generated, held_out) for generated, held_out in pairs]
    return {"copying": float(np.average(scores, weights=weights))}


def in_cells(points: Tensor, training: Tensor, cells: "KMeans") -> list[Tensor]:
    """The distances to the nearest training image, of the points of each cell."""
    distances = nearest(points, training, 1)[0][:, 0]
    number = torch.from_numpy(cells.predict(points.numpy()))
    return [distances[number == cell] for cell in range(cells.n_clusters)]


def z_value(generated: Tensor, held_out: Tensor) -> float:
    """The Mann-Whitney U of the pairs in which the generated image is the farther one, standardized."""
    from scipy.stats import mannwhitneyu

    pairs, count = len(generated) * len(held_out), len(generated) + len(held_out)
    statistic = mannwhitneyu(generated.numpy(), held_out.numpy(), method="asymptotic").statistic
    return float((statistic - pairs / 2) / sqrt(pairs * (count + 1) / 12))
