"""The standard Inception network of FID and IS, in torch-fidelity's version."""

import socket
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from gan_cli.files import sha256
from gan_cli.metrics.extractor import Extractor, LoadedExtractor
from gan_cli.metrics.metrics import WeightsUnavailableError
from gan_cli.work import in_background

STANDARD_SHA256 = "6726825d"  # the first digits of the standard weights' SHA-256, as in their file name
FILE_NAME = URL_INCEPTION_V3.rsplit("/", 1)[1]


@dataclass(frozen=True, kw_only=True)
class InceptionExtractor(Extractor):
    """Inception-v3 with the weights converted from TensorFlow (2015-12-05), in torch-fidelity's format.

    `weights` is their file; without one, it is looked for in torch's hub cache, and downloaded into it once. Their
    SHA-256 has to begin with `sha256`. Only with the standard weights do metrics have names without a suffix.
    """

    weights: str | None
    sha256: str

    def __post_init__(self) -> None:
        if len(self.sha256) < 8 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(
                f"sha256={self.sha256} must be at least the first 8 hexadecimal digits of the weights' SHA-256"
            )

    def load(self) -> LoadedExtractor:
        return in_background("reading the Inception weights", self.read, self.find())

    def read(self, path: Path) -> LoadedExtractor:
        digest = sha256(path)
        if not digest.startswith(self.sha256):
            raise ValueError(
                f"{path} is not the expected Inception weights: its SHA-256 begins with {digest[:8]}, "
                f"not {self.sha256}; remove the file to fetch it again, or set dataset.metrics.extractor.sha256"
            )
        try:
            torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would run code in the file
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
            )
        except (UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} does not hold Inception weights in torch-fidelity's format") from error
        standard = digest.startswith(STANDARD_SHA256)
        return LoadedExtractor(
            network,
            name="inception-v3-compat",
            weights_sha256=digest,
            suffix="" if standard else f"_inception_{digest[:8]}",
            channels=3,
        )

    def find(self) -> Path:
        if self.weights is not None:
            if not Path(self.weights).is_file():
                raise ValueError(
                    f"dataset.metrics.extractor.weights={self.weights} is not a file: "
                    "give the weights' file, or null to fetch it"
                )
            return Path(self.weights)
        cached = Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME
        if not cached.is_file():
            self.fetch(cached)
        return cached

    def fetch(self, target: Path) -> None:
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(20)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(target), hash_prefix=self.sha256)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise WeightsUnavailableError(
                f"the Inception weights could not be downloaded ({reason}): put {FILE_NAME} into {target.parent}, "
                "or set dataset.metrics.extractor.weights=<file>"
            ) from error
        finally:
            socket.setdefaulttimeout(timeout)
