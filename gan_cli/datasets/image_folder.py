"""A folder of image files, with or without a folder for each class."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.datasets.folder import IMG_EXTENSIONS

from gan_cli.datasets.dataset import Dataset, check_size
from gan_cli.table import Table


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Every image file below `root`, [channels, image_size, image_size]: centre crop to a square, then Lanczos.

    Where every file lies in a sub-folder, the first-level sub-folders, sorted, are the classes; otherwise the images
    are unlabelled. Files are turned upright by their EXIF tag, and transparent pixels lie on white.
    """

    root: str
    image_size: int
    channels: Literal[1, 3]

    def __post_init__(self) -> None:
        check_size(self.image_size)

    def load(self) -> Table:
        root = Path(self.root)
        if not root.is_dir():
            raise ValueError(f"dataset.root={self.root} is not a folder: set dataset.root to a folder of images")
        files = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS and path.is_file())
        if not files:
            raise ValueError(f"dataset.root={self.root} holds no image files ({', '.join(IMG_EXTENSIONS)})")
        with ThreadPoolExecutor() as threads:
            decoded = list(threads.map(self.read, files))
        unreadable = [str(path) for path, image in zip(files, decoded, strict=True) if image is None]
        if unreadable:
            named = ", ".join(unreadable[:20]) + (", ..." if len(unreadable) > 20 else "")
            raise ValueError(f"{len(unreadable)} of {len(files)} image files cannot be read, remove or mend: {named}")
        pixels = torch.from_numpy(np.stack([image for image in decoded if image is not None]))
        return Table(pixels, torch.tensor(self.labels(root, files)))

    def read(self, path: Path) -> np.ndarray | None:
        """[channels, image_size, image_size] bytes, or None for a file that is not a whole image of sane size."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(path) as file:
                    upright = ImageOps.exif_transpose(file)
                    square = ImageOps.fit(
                        opaque(upright), (self.image_size, self.image_size), method=Image.Resampling.LANCZOS
                    )
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
            return None
        pixels = np.asarray(square.convert("L" if self.channels == 1 else "RGB"))
        return pixels.reshape(self.image_size, self.image_size, self.channels).transpose(2, 0, 1)

    def labels(self, root: Path, files: list[Path]) -> list[int]:
        parts = [path.relative_to(root).parts for path in files]
        if any(len(names) == 1 for names in parts):
            return [-1] * len(files)
        classes = sorted({names[0] for names in parts})
        return [classes.index(names[0]) for names in parts]

    @property
    def protocol(self) -> dict[str, str | int | float]:
        return {
            "dataset": f"image_folder {Path(self.root).name}",
            "split": "all",
            "image_size": self.image_size,
            "resize": "centre crop, Lanczos",
        }


def opaque(image: Image.Image) -> Image.Image:
    """8-bit grey or RGB: 16-bit grey keeps its high byte, and transparency is laid over white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L", "F") else "RGB")
