"""Attacks: images moved a little so that a network errs."""

from gan_cli.attacks.answers import answers, misled
from gan_cli.attacks.attack import Attack
from gan_cli.attacks.fgsm import FGSM
from gan_cli.attacks.ifgsm import IFGSM
from gan_cli.attacks.pgd import PGD

__all__ = ["FGSM", "IFGSM", "PGD", "Attack", "answers", "misled"]
