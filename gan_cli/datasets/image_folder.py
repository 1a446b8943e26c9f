"""The user's own images: a folder, or a zip or tar file that is read in place."""

from dataclasses import dataclass
from pathlib import Path

from gan_cli.datasets.prepared import PreparedDataset
from gan_cli.datasets.source import ArchiveSource, FolderSource, Source
from gan_cli.text import printable


@dataclass(frozen=True, kw_only=True)
class ImageFolder(PreparedDataset):
    """Every image file in `root`, or below `subfolder` if that is given.

    If every file is in a subfolder, the first-level folders, sorted, are the classes; otherwise there are no labels.
    """

    root: str
    subfolder: str | None

    def source(self) -> Source:
        root = Path(self.root)
        if root.is_file():
            return ArchiveSource(root, self.subfolder)
        folder = root / (self.subfolder or "")
        if not folder.is_dir():
            raise ValueError(
                f"dataset.root={printable(folder)} is not a folder: "
                "set dataset.root to a folder, a zip or a tar file of images"
            )
        return FolderSource(folder)

    @property
    def named(self) -> dict[str, str]:
        """Without the folder's name: the digest of the images tells one folder from another."""
        return {"dataset": "image_folder"}
