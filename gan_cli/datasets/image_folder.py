"""The user's own images: a folder, a zip or tar file that is read in place, or an array of NumPy."""

from dataclasses import dataclass
from pathlib import Path

from gan_cli.datasets.labelled import LabelledImages
from gan_cli.datasets.source import Source, source_of


@dataclass(frozen=True, kw_only=True)
class ImageFolder(LabelledImages):
    """Every image file in `root`, or below `subfolder` if that is given.

    If every file is in a subfolder, the first-level folders, sorted, are the classes; otherwise there are no labels.
    """

    root: str
    subfolder: str | None

    def source(self) -> Source:
        return source_of(Path(self.root), self.subfolder, "dataset.root")

    @property
    def named(self) -> dict[str, str]:
        """Without the folder's name: the digest of the images tells one folder from another."""
        return {"dataset": "image_folder"}
