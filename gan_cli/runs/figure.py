"""Matplotlib's figures as the pictures of runs and of tables have them."""

from pathlib import Path
from typing import TYPE_CHECKING

from gan_cli.files import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def new_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # not pyplot: no global state, no window system

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(path: Path, figure: "Figure") -> None:
    with atomic(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI)
