"""Makes the weights that ship with the package: python -m gan_cli.metrics.train_classifier digits|mnist [data folder].

Prints the accuracy on images that were held out, and stores it, the seed and the command in the file.
"""

import sys
from importlib.resources import files
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_cli.data import resize
from gan_cli.metrics.classifier import SIZES, Classifier

SEED = 0


def main() -> None:
    name, *rest = sys.argv[1:]
    torch.manual_seed(SEED)
    if name == "digits":
        digits = load_digits()
        pixels = torch.tensor(digits.images / 16 * 255).round().to(torch.uint8)[:, None]
        order, labels = torch.randperm(len(pixels)), torch.tensor(digits.target)
        train, test, epochs = order[:1400], order[1400:], 60
    else:
        splits = [torchvision.datasets.MNIST(rest[0], train=split) for split in (True, False)]
        pixels = torch.cat([split.data for split in splits])[:, None]
        labels = torch.cat([split.targets for split in splits])
        train, test, epochs = torch.arange(60_000), torch.arange(60_000, 70_000), 4
    pixels = resize(pixels, SIZES[name])
    network = Classifier(name, ["logits"], size=SIZES[name])
    fit(network, pixels[train], labels[train], epochs)
    set_scale(network, pixels[train])
    accuracy = held_out_accuracy(network, pixels[test], labels[test])
    print(f"held-out accuracy {accuracy:.4f} on {len(test)} images")
    command = f"python -m gan_cli.metrics.train_classifier {name}" + (" <data folder>" if rest else "")
    facts = {"command": command, "seed": str(SEED), "held_out_accuracy": f"{accuracy:.4f}", "held_out": str(len(test))}
    target = Path(str(files("gan_cli.metrics"))) / "weights" / f"{name}.safetensors"
    save_file(network.state_dict(), target, metadata=facts)


def fit(network: Classifier, pixels: Tensor, labels: Tensor, epochs: int) -> None:
    """Adam with one cosine from 2e-3 to zero; every batch is shifted by up to two pixels."""
    batch_size = 100
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(pixels) // batch_size))
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels)).split(batch_size)[: len(pixels) // batch_size]:
            down, right = (int(shift) for shift in torch.randint(-2, 3, (2,)))
            (logits,) = network(pixels[rows].roll((down, right), (2, 3)))
            optimizer.zero_grad()
            cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def set_scale(network: Classifier, pixels: Tensor) -> None:
    """Scales the features to a root mean square of one, which KID's kernel expects; the logits do not change."""
    last = network.features[-2]
    assert isinstance(last, nn.Linear)
    scale = network.features(pixels[:1000].float() / 127.5 - 1).square().mean().sqrt()
    for parameter in last.parameters():
        parameter.div_(scale)  # a ReLU follows, which passes a positive factor on
    network.logits.weight.mul_(scale)


def held_out_accuracy(network: Classifier, pixels: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        (logits,) = network.eval()(pixels)
    return (logits.argmax(1) == labels).float().mean().item()


if __name__ == "__main__":
    main()
