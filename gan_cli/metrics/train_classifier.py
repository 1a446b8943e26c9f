"""Makes the weights that ship: python -m gan_cli.metrics.train_classifier digits|mnist <data folder> <file>.

No image that the metrics judge is trained on, unless `dataset.split=test` is chosen for MNIST:

- digits: the 3,823 training images of the UCI data set (the file optdigits.tra, from archive.ics.uci.edu/dataset/80),
  by 30 writers; the metrics judge its 1,797 test images, by 13 other writers.
- mnist: the 10,000 test images; the metrics judge the 60,000 training images.

Three losses give features that tell classes apart, and also images of one class: cross-entropy; the error of the
8 x 8 image that a linear layer reads from the features; and the features' squared correlations, which no two features
then share (DeCov, Cogswell et al. 2016, arXiv:1511.06068).

Prints what the weights' file stores in its header, too: the command, the seed, the digest of the training images and
labels, and on the images that are judged the accuracy, the number of features that vary, and their effective rank.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate, mse_loss
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from gan_cli.data import resize
from gan_cli.metrics.classifier import SIZES, Classifier, convolutions, with_norms

SEED = 0
EPOCHS = {"digits_v2": 20, "mnist_v2": 12}
BATCH_SIZE = 100
CORRELATION_WEIGHT = 3.0
MOST_TURN, MOST_STRETCH, MOST_SHIFT = 0.2, 0.12, 0.12  # in radians; as a share; in halves of the image


def main() -> None:
    data, folder, file = sys.argv[1:]
    name = f"{data}_v2"
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the sums' order, and so the weights, would depend on their number
    train, judged = (digits if data == "digits" else mnist)(Path(folder))
    facts = {"command": f"python -m gan_cli.metrics.train_classifier {data} <data folder> <file>", "seed": str(SEED)}
    facts |= {"torch": torch.__version__, "trained_on": f"{len(train[0])} images, SHA-256 {digest(*train)}"}
    normed = with_norms(convolutions())
    network = Classifier(name, ["features", "logits"], size=SIZES[name], layers=normed)
    fit(network, resize(train[0], SIZES[name]), train[1], EPOCHS[name])
    network.features = folded(normed)
    facts |= quality(network, resize(judged[0], SIZES[name]), judged[1])
    for fact, value in facts.items():
        print(f"{fact}: {value}")
    save_file(network.state_dict(), file, facts)


Labelled = tuple[Tensor, Tensor]  # bytes [images, 1, height, width], and their labels


def digits(folder: Path) -> tuple[Labelled, Labelled]:
    table = np.loadtxt(folder / "optdigits.tra", delimiter=",", dtype=np.int64)
    judged = load_digits()
    return grey(table[:, :64].reshape(-1, 8, 8), table[:, 64]), grey(judged.images, judged.target)


def grey(images: np.ndarray, labels: np.ndarray) -> Labelled:
    """Grey values 0 to 16 become 0 to 255, as in the data set."""
    return torch.tensor(images / 16 * 255).round().to(torch.uint8)[:, None], torch.tensor(labels)


def mnist(folder: Path) -> tuple[Labelled, Labelled]:
    test, train = (torchvision.datasets.MNIST(folder, train=split) for split in (False, True))
    return (test.data[:, None], test.targets), (train.data[:, None], train.targets)


def digest(pixels: Tensor, labels: Tensor) -> str:
    return hashlib.sha256(pixels.numpy().tobytes() + labels.to(torch.uint8).numpy().tobytes()).hexdigest()


def folded(normed: nn.Sequential) -> nn.Sequential:
    """The same function without normalizations, whose means and scales go into the layers before them."""
    layers: list[nn.Module] = []
    for layer in normed.eval():
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)  # type: ignore[type-var]
        elif isinstance(layer, nn.BatchNorm1d):
            layers[-1] = fuse_linear_bn_eval(layers[-1], layer)  # type: ignore[type-var]
        else:
            layers.append(layer)
    return nn.Sequential(*layers)


def fit(network: Classifier, pixels: Tensor, labels: Tensor, epochs: int) -> None:
    """AdamW, with one cycle of the rate up to 2e-3."""
    reader = nn.Linear(64, 64)
    parameters = [*network.parameters(), *reader.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=1e-4)
    batches = len(pixels) // BATCH_SIZE
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * batches)
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(pixels)).split(BATCH_SIZE)[:batches]:
            images = moved(pixels[rows])
            features, logits = network(images)
            small = interpolate(images, (8, 8), mode="bilinear", antialias=True).flatten(1) / 127.5 - 1
            correlations = torch.corrcoef(features.T).square().mean()  # the diagonal is constant
            loss = cross_entropy(logits, labels[rows]) + mse_loss(reader(features), small)
            optimizer.zero_grad()
            (loss + CORRELATION_WEIGHT * correlations).backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch}/{epochs}: loss {loss.item():.4f}", flush=True)


def moved(pixels: Tensor) -> Tensor:
    """Each image turned, stretched and shifted at random."""
    turn, stretch, shift = (
        (2 * torch.rand(len(pixels), count) - 1) * most
        for count, most in ((1, MOST_TURN), (2, MOST_STRETCH), (2, MOST_SHIFT))
    )
    cosine, sine = turn.cos() * (1 + stretch), turn.sin()
    x = torch.cat([cosine[:, :1], -sine, shift[:, :1]], 1)
    y = torch.cat([sine, cosine[:, 1:], shift[:, 1:]], 1)
    grid = affine_grid(torch.stack([x, y], 1), list(pixels.shape), align_corners=False)
    return grid_sample(pixels.float(), grid, align_corners=False)


@torch.no_grad()
def quality(network: Classifier, pixels: Tensor, labels: Tensor) -> dict[str, str]:
    """Accuracy, how many features vary, and the effective rank of their covariance, exp(entropy) of its spectrum.

    Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality".
    """
    batches = zip(*(network.eval()(batch) for batch in pixels.split(500)), strict=True)
    features, logits = (torch.cat(outputs).double() for outputs in batches)
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    shares = torch.linalg.eigvalsh(features.T.cov()).clamp(min=0)
    shares /= shares.sum()
    rank = torch.special.entr(shares).sum().exp().item()
    varying = int((features.std(0) > 0.1).sum())
    return {
        "judged": f"{len(pixels)} other images",
        "accuracy": f"{accuracy:.4f}",
        "varying_features": f"{varying} of {features.shape[1]}",
        "effective_rank": f"{rank:.1f}",
    }


if __name__ == "__main__":
    main()
