"""The look of each method in pictures: colour, line and marker, together never the same in 44 methods."""

from typing import NamedTuple

import numpy as np

# Ten colours that people with any colour vision tell apart (Petroff 2021, arXiv:2107.02270), and a green.
COLOURS = (
    "#3f90da",
    "#e76300",
    "#832db6",
    "#00813f",
    "#bd1f01",
    "#a96b59",
    "#ffa90e",
    "#717581",
    "#92dadd",
    "#b9ac70",
    "#94a4a2",
)
ON_BLACK = {"#832db6": "#b97be0", "#bd1f01": "#f0553a", "#00813f": "#2fb56d"}  # lighter, where they would be too dark
DASHES: tuple[tuple[int, ...], ...] = ((), (7, 3), (2, 2), (7, 2, 2, 2))
MARKERS = "osD^vPX*<>p"


class Style(NamedTuple):
    """`number` is the colour's; a dash without lengths is a solid line."""

    number: int
    dash: tuple[int, ...]
    marker: str

    @property
    def colour(self) -> str:
        return COLOURS[self.number]


def style(place: int) -> Style:
    """Of the method at this place. Eleven colours and markers, and four lines: 11 and 4 have no common divisor."""
    return Style(place % len(COLOURS), DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)])


def outline(marker: str) -> list[tuple[float, float]]:
    """The corners of a marker, from -1 to 1, y downwards."""
    from matplotlib.markers import MarkerStyle

    shape = MarkerStyle(marker)
    corners = np.array(shape.get_path().transformed(shape.get_transform()).to_polygons(closed_only=True)[0])
    largest = abs(corners).max()
    return [(round(float(x / largest), 2), round(float(-y / largest), 2)) for x, y in corners]
