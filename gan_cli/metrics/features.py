"""Features of images, as an extractor makes them; those of real images are cached."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gan_cli.data import TrainingSet
from gan_cli.errors import one_line
from gan_cli.files import atomic, cache_folder, sync
from gan_cli.metrics.extractor import LoadedExtractor
from gan_cli.metrics.frechet import Moments
from gan_cli.metrics.metrics import Sample
from gan_cli.ranks import ALONE, each, shared_out
from gan_cli.shapes import Features, Labels, Stored
from gan_cli.text import printable
from gan_cli.work import alone, in_background, track

UNREADABLE = (OSError, ValueError, SafetensorError)


@dataclass(frozen=True)
class ImageFeatures:
    features: Features
    logits: Features

    @cached_property
    def moments(self) -> Moments:
        return Moments(self.features)

    def take(self, rows: torch.Tensor) -> "ImageFeatures":
        return ImageFeatures(self.features[rows], self.logits[rows])

    def of(self, images: Stored, labels: Labels, rows: torch.Tensor | None = None) -> Sample:
        """The images of these rows with their features, and of all `labels` theirs; without rows, all images."""
        labels = labels.cpu()
        return Sample(images, self.features, self.logits, labels if rows is None else labels[rows], rows)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for values in (self.features, self.logits):
            digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()


@torch.no_grad()
def extract(extractor: LoadedExtractor, pixels: Stored, batch_size: int) -> ImageFeatures:
    """Features in batches of `batch_size`, each moved from the pixels' device to the extractor's."""

    def outputs_of(batches: Sequence[Stored]) -> list[list[Features]]:
        outputs = []
        for batch in track(batches, "batch"):
            batch = batch.to(extractor.device)
            if batch.shape[1] != extractor.channels:
                batch = match_channels(batch, extractor.channels)
            outputs.append([output.cpu() for output in extractor.network(batch)])
        return outputs

    outputs = each(pixels.split(batch_size), outputs_of)
    features, logits = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return ImageFeatures(features, logits)


def match_channels(pixels: Stored, channels: int) -> Stored:
    """Grey repeated to RGB, or RGB averaged to grey."""
    if channels == 1:
        return pixels.float().mean(1, keepdim=True).round().to(torch.uint8)
    return pixels.expand(-1, channels, -1, -1)


def cached(
    extractor: LoadedExtractor, training_set: TrainingSet, compute: Callable[[], ImageFeatures]
) -> ImageFeatures:
    """Features of real images from the cache, whose key holds all they depend on; a corrupt file is computed again.

    Of several processes that need the same ones, such as the jobs of a sweep or those of one run, one computes them.
    """
    with shared_out(ALONE):
        return computed_once(extractor, training_set, compute)


def computed_once(
    extractor: LoadedExtractor, training_set: TrainingSet, compute: Callable[[], ImageFeatures]
) -> ImageFeatures:
    key = {
        "pixels": training_set.identified().digest,
        "shape": list(training_set.values.shape),
        "extractor": extractor.name,
        "weights": extractor.weights_sha256,
        "torch_fidelity": version("torch-fidelity"),
    }
    stamp = json.dumps(key, sort_keys=True)
    path = cache_folder() / "features" / f"{hashlib.sha256(stamp.encode()).hexdigest()}.safetensors"

    def read() -> ImageFeatures | None:
        rows, what = len(training_set.values), "reading the real images' features"
        return in_background(what, read_features, path, stamp, rows) if os.path.lexists(path) else None

    with suppress(*UNREADABLE):
        if (real := read()) is not None:
            return real
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(alone(path.with_suffix(".lock"), "computes the same images' features"))
        except OSError as error:
            warnings.warn(f"real features are not cached: {one_line(error)}", stacklevel=2)
            return compute()
        try:
            if (real := read()) is not None:  # by now
                return real
        except UNREADABLE as error:
            warnings.warn(
                f"computing real features again: {printable(path)} is corrupt or foreign ({one_line(error)})",
                stacklevel=2,
            )
        real = compute()
        try:
            write_features(path, stamp, real)
        except (OSError, SafetensorError) as error:
            warnings.warn(f"real features are not cached: {one_line(error)}", stacklevel=2)
        return real


def read_features(path: Path, stamp: str, rows: int) -> ImageFeatures:
    """Raises one of `UNREADABLE` for a file that does not hold what was written under this stamp."""
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("it is not a file")
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("stamp") != stamp or set(file.keys()) != {"features", "logits"}:
            raise ValueError("it was made from something else")
        parts = {name: file.get_slice(name) for name in ("features", "logits")}
        if any(part.get_dtype() != "F32" or len(part.get_shape()) != 2 for part in parts.values()):
            raise ValueError("it does not hold rows of numbers")
        if any(part.get_shape()[0] != rows for part in parts.values()):
            raise ValueError("it does not hold one row for each image")
        real = ImageFeatures(*(file.get_tensor(name) for name in parts))
    if metadata.get("sha256") != real.sha256():
        raise ValueError("it is not what was written")
    if not (real.features.isfinite().all() and real.logits.isfinite().all()):
        raise ValueError("it holds numbers that are not finite")
    return real


def write_features(path: Path, stamp: str, real: ImageFeatures) -> None:
    for leftover in path.parent.glob(f".{path.name}.*.partial"):  # of a killed process
        leftover.unlink()
    with atomic(path) as partial:
        tensors = {"features": real.features, "logits": real.logits}
        save_file(tensors, partial, metadata={"stamp": stamp, "sha256": real.sha256()})
        in_background("writing the real images' features", sync, partial)
