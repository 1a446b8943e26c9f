"""What a network answers for many images, batch by batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_cli.attacks.attack import Attack
from gan_cli.data import TrainingSet
from gan_cli.seeding import mix
from gan_cli.shapes import Examples, Images, Logits
from gan_cli.work import track

BATCH = 256  # images at a time; fixed, so that random starts do not depend on a batch size


def answers(data: TrainingSet, answer: Callable[[Examples], Tensor], seed: int, what: str) -> Tensor:
    """`answer` for every image, on the CPU; progress calls it `what`. Each batch has a random state of its own."""
    found = []
    for number, rows in enumerate(track(torch.arange(len(data)).split(BATCH), f"{what}, batch")):
        torch.manual_seed(mix("answers", seed, number))
        found.append(answer(data.batch(rows)).cpu())
    return torch.cat(found)


def misled(classify: Callable[[Images], Logits], data: TrainingSet, attack: Attack, seed: int) -> Logits:
    """The class logits of all images after the attack, on the CPU."""

    def answer(shown: Examples) -> Logits:
        moved = attack.misleading(classify, shown.images, shown.labels)
        with torch.no_grad():
            return classify(moved)

    return answers(data, answer, seed, f"images attacked by {attack.name}")
