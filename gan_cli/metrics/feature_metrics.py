"""FID, IS, KID, precision and recall, with torch-fidelity's own functions on features of images.

FID: see frechet.py; within classes: Miyato and Koyama 2018 (arXiv:1802.05637), who call it intra-FID; IS: Salimans et
al. 2016 (arXiv:1606.03498); KID: Binkowski et al. 2018 (arXiv:1801.01401); precision and recall: Kynkaanniemi et al.
2019 (arXiv:1904.06991). Density, coverage, authenticity, copying, CAS and others have modules of their own.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from statistics import fmean
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

import torch
from annotated_types import Ge

from gan_cli.data import TrainingSet
from gan_cli.metrics.authenticity import authenticity
from gan_cli.metrics.cas import CAS
from gan_cli.metrics.cmmd import cmmd
from gan_cli.metrics.copying import copying
from gan_cli.metrics.density_coverage import density_coverage
from gan_cli.metrics.extractor import Extractor, LoadedExtractor
from gan_cli.metrics.features import ImageFeatures, cached, extract
from gan_cli.metrics.fidelity import isc_features_to_metric, kid_features_to_metric, prc_features_to_metric
from gan_cli.metrics.frechet import Moments, frechet_distance
from gan_cli.metrics.latent_density import latent_density
from gan_cli.metrics.metrics import (
    NUM_NEIGHBOURS,
    Direction,
    Metric,
    Metrics,
    NearestImages,
    Protocol,
    Sample,
    Scorer,
    Subject,
)
from gan_cli.metrics.nearest_images import nearest_images
from gan_cli.seeding import mix
from gan_cli.shapes import Labels, Stored
from gan_cli.work import doing, in_background, track

Name = Literal[
    "fid",
    "inception_score",
    "kid",
    "precision_recall",
    "density_coverage",
    "authenticity",
    "copying",
    "held_out",
    "cmmd",
    "latent_density",
    "class_fid",
    "class_accuracy",
    "cas",
]
KID_SEED = 2020  # of the subsets, torch-fidelity's own
MIN_IMAGES = 10  # density and coverage need a fifth neighbour, also in one half of the real images


@dataclass(frozen=True, kw_only=True)
class FeatureMetrics(Metrics):
    """Which metrics to compute on `extractor`'s features; KID averages `kid_subsets` subsets of `kid_subset_size`.

    The subset size is at most the number of images. `batch_size` is only the extractor's. `names` may hold a `Metric`;
    `class_fid` and `class_accuracy` are left out where images have no labels, `copying` and `held_out` (FID against
    held-out images) where the data set holds none out. `cas` trains `cas_seeds` classifiers of
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
        standard = [key for name, each in COMPARISONS.items() if name in self.names for key in each.keys]
        keys = [*standard, *CAS_DIRECTIONS, *(metric.key for metric in self.own)]
        if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
            raise ValueError(f"two of names have the key {twice[0]}")

    @property
    def own(self) -> list[Metric]:
        """Those of `names` that are classes of their own."""
        return [metric for metric in self.names if isinstance(metric, Metric)]

    @property
    def reads_held_out(self) -> bool:
        return "cas" in self.names

    @property
    def compares_held_out(self) -> bool:
        return any(each.of_held_out for name, each in COMPARISONS.items() if name in self.names)

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
        held_out = training_set.held_out.identified() if self.compares_held_out and training_set.held_out else None
        training_set = training_set if held_out is None else replace(training_set, held_out=held_out)
        if held_out is not None and len(held_out) < MIN_IMAGES:
            raise ValueError(f"{len(held_out)} held-out images are too few to compare with: hold out {MIN_IMAGES}")
        return FeatureScorer(
            self,
            extractor,
            self.real_features(extractor, training_set),
            training_set,
            num_fake,
            [(each, self.real_features(each, training_set)) for each in also],
            None if held_out is None else self.held_out_sample(extractor, held_out),
        )

    def held_out_sample(self, extractor: LoadedExtractor, held_out: TrainingSet) -> Sample:
        return self.real_features(extractor, held_out, "held-out").of(held_out.values, held_out.labels)

    def check_classes(self, extractor: LoadedExtractor, training_set: TrainingSet) -> None:
        """Raises ValueError for a metric that these labels cannot have."""
        if "cas" in self.names and not training_set.num_classes:
            raise ValueError(
                "cas trains classifiers on generated images, and these have no labels: choose a conditioning, for data "
                "with labels, or take cas out of dataset.metrics.names"
            )
        for name in ("inception_score", "latent_density"):
            if name in self.names and not extractor.has_logits:
                raise ValueError(
                    f"{name} reads class logits, which {extractor.name} has not: take it out of dataset.metrics.names"
                )
        if "class_accuracy" in self.names and training_set.num_classes > extractor.num_classes:
            raise ValueError(
                f"class_accuracy needs an extractor that classifies the data's {training_set.num_classes} classes, "
                f"which the {extractor.name} does not: take it out of dataset.metrics.names"
            )

    def features(self, extractor: LoadedExtractor, pixels: Stored, whose: str) -> ImageFeatures:
        return in_background(f"features of {whose} images", extract, extractor, pixels, self.batch_size)

    def real_features(
        self, extractor: LoadedExtractor, training_set: TrainingSet, whose: str = "real"
    ) -> ImageFeatures:
        return cached(extractor, training_set, lambda: self.features(extractor, training_set.values, whose))

    def standard(self, labels: Labels, held_out: bool) -> dict[str, "Comparison"]:
        """Those of `names` that are no classes of their own, and that these real images can have."""
        return {
            name: each
            for name, each in COMPARISONS.items()
            if name in self.names
            and (held_out or not each.of_held_out)
            and (not each.of_labels or bool((labels >= 0).any()))
        }

    def compare(self, fake: Sample, real: Sample) -> dict[str, float]:
        """The metrics of features, by their names without a suffix."""
        scores: dict[str, float] = {}
        comparisons = self.standard(real.labels, real.held_out is not None)
        for name, comparison in track(comparisons.items(), "comparing"):
            scores |= in_background(name, comparison.measure, self, fake, real)
        return scores

    def measure(self, fake: Sample, real: Sample) -> dict[str, float]:
        """The user's own metrics, by their keys."""
        return {
            metric.key: float(in_background(metric.key, metric.measure, fake, real))
            for metric in track(self.own, "comparing")
        }

    def fid(self, fake: Sample, real: Sample) -> dict[str, float]:
        return {"fid": frechet_distance(fake.moments, real.moments)}

    def held_out(self, fake: Sample, real: Sample) -> dict[str, float]:
        """FID against images that no training sees, which copies of the training images do not lower."""
        assert real.held_out is not None
        return {"fid_held_out": frechet_distance(fake.moments, real.held_out.moments)}

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
            fake.features,
            real.features,
            kid_subsets=self.kid_subsets,
            kid_subset_size=size,
            rng_seed=(KID_SEED + fake.seed) % 2**32,
            verbose=False,
        )
        return {f"kid_{moment}": kid[f"kernel_inception_distance_{moment}"] for moment in ("mean", "std")}

    def precision_recall(self, fake: Sample, real: Sample) -> dict[str, float]:
        prc = prc_features_to_metric(fake.features, real.features, save_cpu_ram=True, verbose=False)
        return {name: prc[name] for name in ("precision", "recall")}


@dataclass(frozen=True)
class Comparison:
    """How one of `names` is computed, and which values of its metrics are better: of some neither, as 0 is best."""

    measure: Callable[[FeatureMetrics, Sample, Sample], dict[str, float]]
    directions: dict[str, Direction]
    without_direction: tuple[str, ...] = ()
    of_labels: bool = False  # left out where images have no labels
    of_held_out: bool = False  # left out where no images are held out

    @property
    def keys(self) -> list[str]:
        return [*self.directions, *self.without_direction]


def of_features(measure: Callable[[Sample, Sample], dict[str, float]]) -> Callable[..., dict[str, float]]:
    """A measure that has no settings."""
    return lambda metrics, fake, real: measure(fake, real)


COMPARISONS: dict[str, Comparison] = {  # in the order of their keys
    "fid": Comparison(FeatureMetrics.fid, {"fid": "lower"}),
    "inception_score": Comparison(FeatureMetrics.inception_score, {"inception_score_mean": "higher"}),
    "kid": Comparison(FeatureMetrics.kid, {"kid_mean": "lower"}),
    "precision_recall": Comparison(FeatureMetrics.precision_recall, {"precision": "higher", "recall": "higher"}),
    "density_coverage": Comparison(of_features(density_coverage), {"density": "higher", "coverage": "higher"}),
    "authenticity": Comparison(of_features(authenticity), {"authenticity": "higher"}),
    "copying": Comparison(of_features(copying), {}, ("copying",), of_held_out=True),
    "held_out": Comparison(FeatureMetrics.held_out, {"fid_held_out": "lower"}, of_held_out=True),
    "cmmd": Comparison(of_features(cmmd), {"cmmd": "lower"}),
    "latent_density": Comparison(of_features(latent_density), {"latent_density": "higher"}),
    "class_fid": Comparison(FeatureMetrics.class_fid, {"class_fid": "lower"}, of_labels=True),
    "class_accuracy": Comparison(FeatureMetrics.class_accuracy, {"class_accuracy": "higher"}, of_labels=True),
}
CAS_DIRECTIONS: dict[str, Direction] = dict.fromkeys(("cas_mean", "cas_real_mean", "cas_both_mean"), "higher")


@dataclass(frozen=True)
class FeatureScorer(Scorer):
    metrics: FeatureMetrics
    extractor: LoadedExtractor
    real: ImageFeatures
    training_set: TrainingSet
    num_fake: int
    also: list[tuple[LoadedExtractor, ImageFeatures]]  # further extractors, with their real features
    held_out: Sample | None = None
    of_subjects: WeakKeyDictionary[Subject, Sample] = field(default_factory=WeakKeyDictionary)

    @property
    def leading(self) -> str:  # type: ignore[override]
        return self.named("fid")

    @property
    def headlines(self) -> list[str]:  # type: ignore[override]
        keys = [self.named(name) for name in ("fid", "inception_score_mean", "cas_mean")]
        return [key for key in keys if key in self.directions]

    @property
    def directions(self) -> dict[str, Direction]:  # type: ignore[override]
        comparisons = self.metrics.standard(self.training_set.labels, self.held_out is not None)
        standard = {self.named(key): way for each in comparisons.values() for key, way in each.directions.items()}
        standard |= CAS_DIRECTIONS if self.cas is not None else {}
        own = {metric.key: metric.better for metric in self.metrics.own}
        return standard | own | {f"fid{extractor.suffix}": "lower" for extractor, _ in self.also}

    @property
    def weights_families(self) -> list[str]:  # type: ignore[override]
        families = (extractor.weights_family for extractor in (self.metrics.extractor, *self.metrics.also))
        return [family for family in families if family is not None]

    @property
    def protocol(self) -> Protocol:
        settings = [(f"{own.key}_{name}", value) for own in self.metrics.own for name, value in vars(own).items()]
        if self.cas is not None:
            settings += [(f"cas_{name}", value) for name, value in self.cas.protocol.items()]
        if self.held_out is not None and self.training_set.held_out is not None:
            settings += [("num_compared_held_out", len(self.held_out.features))]
            settings += [("held_out_sha256", self.training_set.held_out.digest)]
        if "density_coverage" in self.metrics.names:
            settings += [("density_neighbours", NUM_NEIGHBOURS)]
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
        images, fake = subject.images, self.sample_of(subject)
        scores = self.metrics.compare(fake, self.real_sample)
        own = self.metrics.measure(fake, self.real_sample)
        also = self.beside(lambda extractor, real: (self.metrics.features(extractor, images, "generated"), real))
        cas = {} if self.cas is None else in_background("cas", self.cas.score, images, subject.labels)
        return {self.named(name): value for name, value in scores.items()} | own | also | cas

    def nearest(self, subject: Subject) -> NearestImages:
        return in_background("nearest training images", nearest_images, self.sample_of(subject), self.real_sample)

    def sample_of(self, subject: Subject) -> Sample:
        """The generated images with their features, which are computed once."""
        if subject not in self.of_subjects:
            features = self.metrics.features(self.extractor, subject.images, "generated")
            sample = features.of(subject.images, subject.labels)
            self.of_subjects[subject] = replace(sample, seed=subject.seed, refined=subject.refined)
        return self.of_subjects[subject]

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
        sample = features.of(self.training_set.values, self.training_set.labels, rows)
        return replace(sample, held_out=self.held_out)

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
        """The metric's key: `kid_mean` is `kid_digits_mean` under the digits classifier.

        CAS does not use the extractor, and a latent density is not compared between generators.
        """
        if name in (*CAS_DIRECTIONS, "latent_density"):
            return name
        stem, ending = re.fullmatch(r"(.*?)((?:_held_out)?(?:_mean|_std)?)", name).groups()  # type: ignore[union-attr]
        return f"{stem}{self.extractor.suffix}{ending}"
