"""FID, IS, KID, precision and recall, with torch-fidelity's own functions on features of images.

FID: see frechet.py; within classes: Miyato and Koyama 2018 (arXiv:1802.05637), who call it intra-FID; IS: Salimans et
al. 2016 (arXiv:1606.03498); KID: Binkowski et al. 2018 (arXiv:1801.01401); precision and recall: Kynkaanniemi et al.
2019 (arXiv:1904.06991); CAS: see cas.py.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gan_cli.data import TrainingSet
from gan_cli.errors import one_line
from gan_cli.files import atomic, cache_folder, sync
from gan_cli.metrics.cas import CAS
from gan_cli.metrics.extractor import Extractor, LoadedExtractor
from gan_cli.metrics.fidelity import isc_features_to_metric, kid_features_to_metric, prc_features_to_metric
from gan_cli.metrics.frechet import Moments, frechet_distance
from gan_cli.metrics.metrics import Direction, Metric, Metrics, Protocol, Sample, Scorer, Subject
from gan_cli.seeding import mix
from gan_cli.shapes import Features, Labels, Stored
from gan_cli.text import printable
from gan_cli.work import doing, in_background, track

Name = Literal["fid", "inception_score", "kid", "precision_recall", "class_fid", "class_accuracy", "cas"]
DIRECTIONS: dict[Name, dict[str, Direction]] = {  # of the metrics that each of `names` gives
    "fid": {"fid": "lower"},
    "inception_score": {"inception_score_mean": "higher"},
    "kid": {"kid_mean": "lower"},
    "precision_recall": {"precision": "higher", "recall": "higher"},
    "class_fid": {"class_fid": "lower"},
    "class_accuracy": {"class_accuracy": "higher"},
    "cas": {"cas_mean": "higher", "cas_real_mean": "higher", "cas_both_mean": "higher"},
}
OF_LABELS = ("class_fid", "class_accuracy", "cas")  # of `names`, those of images that have labels
MIN_IMAGES = 10  # precision and recall need a third neighbour, also in one half of the real images


@dataclass(frozen=True, kw_only=True)
class FeatureMetrics(Metrics):
    """Which metrics to compute on `extractor`'s features; KID averages `kid_subsets` subsets of `kid_subset_size`.

    The subset size is at most the number of images. `batch_size` is only the extractor's. `names` may hold a `Metric`;
    `class_fid` and `class_accuracy` are left out where images have no labels. `cas` trains `cas_seeds` classifiers of
    each kind for `cas_steps` steps. Of the extractors in `also`, FID alone is computed, on the same images, and
    recorded beside the other scores.
    """

    extractor: Extractor
    also: list[Extractor]
    names: list[Name | Metric]
    inception_score_splits: Annotated[int, Ge(1)]
    kid_subsets: Annotated[int, Ge(1)]
    kid_subset_size: Annotated[int, Ge(2)]
    cas_seeds: Annotated[int, Ge(1)]
    cas_steps: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if "fid" not in self.names:
            raise ValueError("names must hold fid: it picks the best checkpoint")
        keys = [*(key for metric in DIRECTIONS.values() for key in metric), *(metric.key for metric in self.own)]
        if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
            raise ValueError(f"two of names have the key {twice[0]}")

    @property
    def own(self) -> list[Metric]:
        """Those of `names` that are classes of their own."""
        return [metric for metric in self.names if isinstance(metric, Metric)]

    @property
    def reads_held_out(self) -> bool:
        return "cas" in self.names

    def against(self, training_set: TrainingSet, num_fake: int) -> "FeatureScorer":
        if training_set.values.dtype != torch.uint8:
            raise ValueError("FID and IS need images, not toy points: use the data set's own metrics")
        extractor, *also = (each.load().to(training_set.device) for each in (self.extractor, *self.also))
        if len({each.suffix for each in (extractor, *also)}) <= len(also):
            raise ValueError("also names an extractor twice: leave out what extractor names, and one of two equal ones")
        fewest = max(MIN_IMAGES, self.inception_score_splits)
        if num_fake < fewest:
            raise ValueError(f"num_eval_images={num_fake} must be at least {fewest}")
        if len(training_set) < 2 * fewest:
            raise ValueError(
                f"the data set has {len(training_set)} images, its metrics need at least {2 * fewest}: add some"
            )
        self.check_classes(extractor, training_set)
        return FeatureScorer(
            self,
            extractor,
            self.real_features(extractor, training_set),
            training_set,
            num_fake,
            [(each, self.real_features(each, training_set)) for each in also],
        )

    def check_classes(self, extractor: LoadedExtractor, training_set: TrainingSet) -> None:
        """Raises ValueError for a metric that these labels cannot have."""
        if "cas" in self.names and not training_set.num_classes:
            raise ValueError(
                "cas trains classifiers on generated images, and these have no labels: choose a conditioning, for data "
                "with labels, or take cas out of dataset.metrics.names"
            )
        if "class_accuracy" in self.names and training_set.num_classes > extractor.num_classes:
            raise ValueError(
                f"class_accuracy needs an extractor that classifies the data's {training_set.num_classes} classes, "
                f"which the {extractor.name} does not: take it out of dataset.metrics.names"
            )

    def features(self, extractor: LoadedExtractor, pixels: Stored, whose: str) -> "ImageFeatures":
        """Features in batches of `batch_size`, each moved from the pixels' device to the extractor's."""
        return in_background(f"features of {whose} images", self.extract, extractor, pixels)

    @torch.no_grad()
    def extract(self, extractor: LoadedExtractor, pixels: Stored) -> "ImageFeatures":
        outputs = []
        for batch in track(pixels.split(self.batch_size), "batch"):
            batch = batch.to(extractor.device)
            if batch.shape[1] != extractor.channels:
                batch = match_channels(batch, extractor.channels)
            outputs.append([output.cpu() for output in extractor.network(batch)])
        features, logits = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        return ImageFeatures(features, logits)

    def real_features(self, extractor: LoadedExtractor, training_set: TrainingSet) -> "ImageFeatures":
        """Features from the cache, whose key holds all they depend on; a corrupt file is computed again."""
        key = {
            "pixels": training_set.identified().digest,
            "shape": list(training_set.values.shape),
            "extractor": extractor.name,
            "weights": extractor.weights_sha256,
            "torch_fidelity": version("torch-fidelity"),
        }
        stamp = json.dumps(key, sort_keys=True)
        path = cache_folder() / "features" / f"{hashlib.sha256(stamp.encode()).hexdigest()}.safetensors"
        if os.path.lexists(path):
            try:
                rows = len(training_set.values)
                return in_background("reading the real images' features", read_features, path, stamp, rows)
            except (OSError, ValueError, SafetensorError) as error:
                warnings.warn(
                    f"computing real features again: {printable(path)} is corrupt or foreign ({one_line(error)})",
                    stacklevel=2,
                )
        real = self.features(extractor, training_set.values, "real")
        try:
            write_features(path, stamp, real)
        except (OSError, SafetensorError) as error:
            warnings.warn(f"real features are not cached: {one_line(error)}", stacklevel=2)
        return real

    def standard(self, real: Labels) -> list[Name]:
        """Those of `names` that are no classes of their own; without labels, the metrics of labels are left out."""
        named = [name for name in self.names if not isinstance(name, Metric)]
        return [name for name in named if name not in OF_LABELS or bool((real >= 0).any())]

    def compare(self, fake: Sample, real: Sample) -> dict[str, float]:
        """The metrics of features, by their names without a suffix."""
        scores: dict[str, float] = {}
        names = self.standard(real.labels)
        for name in track([name for name in COMPARISONS if name in names], "comparing"):
            scores |= in_background(name, COMPARISONS[name], self, fake, real)
        return scores

    def measure(self, fake: Sample, real: Sample) -> dict[str, float]:
        """The user's own metrics, by their keys."""
        return {
            metric.key: float(in_background(metric.key, metric.measure, fake, real))
            for metric in track(self.own, "comparing")
        }

    def fid(self, fake: Sample, real: Sample) -> dict[str, float]:
        return {"fid": frechet_distance(fake.moments, real.moments)}

    def class_fid(self, fake: Sample, real: Sample) -> dict[str, float]:
        """The mean over classes of FID within the class; without one that has two images on both sides, no score."""
        distances = []
        for number in track(real.labels[real.labels >= 0].unique().tolist(), "class"):
            own = [images.features[images.labels == number] for images in (fake, real)]
            if min(map(len, own)) > 1:
                distances.append(frechet_distance(*map(Moments, own)))
        return {"class_fid": fmean(distances)} if distances else {}

    def class_accuracy(self, fake: Sample, real: Sample) -> dict[str, float]:
        """The share of generated images that the extractor gives their own label."""
        return {"class_accuracy": (fake.logits.argmax(1) == fake.labels).double().mean().item()}

    def inception_score(self, fake: Sample, real: Sample) -> dict[str, float]:
        return isc_features_to_metric(fake.logits, splits=self.inception_score_splits)

    def kid_subset(self, num_fake: int, num_real: int) -> int:
        """The size that is used: a subset holds each image once."""
        return min(self.kid_subset_size, num_fake, num_real)

    def kid(self, fake: Sample, real: Sample) -> dict[str, float]:
        size = self.kid_subset(len(fake.features), len(real.features))
        kid = kid_features_to_metric(
            fake.features, real.features, kid_subsets=self.kid_subsets, kid_subset_size=size, verbose=False
        )
        return {f"kid_{moment}": kid[f"kernel_inception_distance_{moment}"] for moment in ("mean", "std")}

    def precision_recall(self, fake: Sample, real: Sample) -> dict[str, float]:
        prc = prc_features_to_metric(fake.features, real.features, save_cpu_ram=True, verbose=False)
        return {name: prc[name] for name in ("precision", "recall")}


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


COMPARISONS: dict[str, Callable[[FeatureMetrics, Sample, Sample], dict[str, float]]] = {
    "fid": FeatureMetrics.fid,
    "inception_score": FeatureMetrics.inception_score,
    "kid": FeatureMetrics.kid,
    "precision_recall": FeatureMetrics.precision_recall,
    "class_fid": FeatureMetrics.class_fid,
    "class_accuracy": FeatureMetrics.class_accuracy,
}


@dataclass(frozen=True)
class FeatureScorer(Scorer):
    metrics: FeatureMetrics
    extractor: LoadedExtractor
    real: ImageFeatures
    training_set: TrainingSet
    num_fake: int
    also: list[tuple[LoadedExtractor, ImageFeatures]]  # further extractors, with their real features

    @property
    def leading(self) -> str:  # type: ignore[override]
        return self.named("fid")

    @property
    def headlines(self) -> list[str]:  # type: ignore[override]
        keys = [self.named(name) for name in ("fid", "inception_score_mean", "cas_mean")]
        return [key for key in keys if key in self.directions]

    @property
    def directions(self) -> dict[str, Direction]:  # type: ignore[override]
        names = self.metrics.standard(self.training_set.labels)
        standard = {self.named(key): way for name in names for key, way in DIRECTIONS[name].items()}
        own = {metric.key: metric.better for metric in self.metrics.own}
        return standard | own | {f"fid{extractor.suffix}": "lower" for extractor, _ in self.also}

    @property
    def protocol(self) -> Protocol:
        settings = [(f"{own.key}_{name}", value) for own in self.metrics.own for name, value in vars(own).items()]
        if self.cas is not None:
            settings += [(f"cas_{name}", value) for name, value in self.cas.protocol.items()]
        also = {"also": [extractor.name for extractor, _ in self.also]}
        also["also_sha256"] = [extractor.weights_sha256 for extractor, _ in self.also]
        return {
            "num_real": len(self.real.features),
            "extractor": self.extractor.name,
            "extractor_sha256": self.extractor.weights_sha256,
            "inception_score_splits": self.metrics.inception_score_splits,
            "kid_subsets": self.metrics.kid_subsets,
            "kid_subset_size": self.metrics.kid_subset(self.num_fake, len(self.real.features)),
            "library": f"torch-fidelity {version('torch-fidelity')}",
            **{name: value if isinstance(value, int | float) else str(value) for name, value in settings},
            **{key: ", ".join(values) for key, values in also.items() if values},
        }

    @cached_property
    def cas(self) -> CAS | None:
        """It keeps what does not depend on the generated images, so that it is computed once."""
        if "cas" not in self.metrics.names or self.training_set.held_out is None:
            return None
        return CAS(self.training_set, self.training_set.held_out, self.metrics.cas_seeds, self.metrics.cas_steps)

    def score(self, subject: Subject) -> dict[str, float]:
        images = subject.images
        fake = self.metrics.features(self.extractor, images, "generated").of(images, subject.labels)
        scores = self.metrics.compare(fake, self.real_sample)
        own = self.metrics.measure(fake, self.real_sample)
        also = self.beside(lambda extractor, real: (self.metrics.features(extractor, images, "generated"), real))
        cas = {} if self.cas is None else in_background("cas", self.cas.score, images, subject.labels)
        return {self.named(name): value for name, value in scores.items()} | own | also | cas

    def floor(self) -> dict[str, float]:
        with doing("two halves of the real images"):
            fake, real = self.halves()
            features = [in_background("splitting", self.real.take, rows) for rows in (fake, real)]
            halves = self.of_real(features[0], fake), self.of_real(features[1], real)
            scores = self.metrics.compare(*halves)
            own = self.metrics.measure(*halves)
            also = self.beside(lambda _, images: (images.take(fake), images.take(real)))
        cas = {} if self.cas is None else in_background("cas", self.cas.floor)
        return {self.named(name): value for name, value in scores.items()} | own | also | cas

    @cached_property
    def real_sample(self) -> Sample:
        """All real images, whose moments are computed once for many generators."""
        return self.of_real(self.real)

    def of_real(self, features: ImageFeatures, rows: torch.Tensor | None = None) -> Sample:
        return features.of(self.training_set.values, self.training_set.labels, rows)

    def beside(
        self, sides: Callable[[LoadedExtractor, ImageFeatures], tuple[ImageFeatures, ImageFeatures]]
    ) -> dict[str, float]:
        """FID of the two sides under each further extractor."""
        scores = {}
        for extractor, real in self.also:
            with doing(extractor.name):
                fake, real = sides(extractor, real)
                fid = in_background("fid", frechet_distance, fake.moments, real.moments)
            scores[f"fid{extractor.suffix}"] = fid
        return scores

    def halves(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows of two random halves of the real images."""
        num_real = len(self.real.features)
        order = torch.randperm(num_real, generator=torch.Generator().manual_seed(mix("floor")))
        return order[: num_real // 2], order[num_real // 2 :]

    def named(self, name: str) -> str:
        """The metric's key: `kid_mean` is `kid_digits_mean` under the digits classifier, which CAS does not use."""
        if name in DIRECTIONS["cas"]:
            return name
        stem, ending = next(
            ((name.removesuffix(ending), ending) for ending in ("_mean", "_std") if name.endswith(ending)), (name, "")
        )
        return stem + self.extractor.suffix + ending


def match_channels(pixels: Stored, channels: int) -> Stored:
    """Grey repeated to RGB, or RGB averaged to grey."""
    if channels == 1:
        return pixels.float().mean(1, keepdim=True).round().to(torch.uint8)
    return pixels.expand(-1, channels, -1, -1)


def read_features(path: Path, stamp: str, rows: int) -> ImageFeatures:
    """Raises OSError, ValueError or SafetensorError for a file that does not hold what was written under this stamp."""
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
    """Unless another process is writing the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(Timeout), FileLock(path.with_suffix(".lock"), blocking=False):
        for leftover in path.parent.glob(f".{path.name}.*.partial"):  # of a killed process
            leftover.unlink()
        with atomic(path) as partial:
            tensors = {"features": real.features, "logits": real.logits}
            save_file(tensors, partial, metadata={"stamp": stamp, "sha256": real.sha256()})
            in_background("writing the real images' features", sync, partial)
