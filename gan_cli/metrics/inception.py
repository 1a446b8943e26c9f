"""The standard Inception network of FID and IS, in torch-fidelity's version."""

import socket
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan_cli.errors import one_line
from gan_cli.files import is_there, sha256
from gan_cli.metrics.extractor import Extractor, LoadedExtractor
from gan_cli.metrics.fidelity import URL_INCEPTION_V3, BasicConv2d, FeatureExtractorInceptionV3
from gan_cli.metrics.metrics import WeightsUnavailableError
from gan_cli.text import printable
from gan_cli.work import in_background

STANDARD_SHA256 = "6726825d"  # the first digits of the standard weights' SHA-256, as in their file name
FILE_NAME = URL_INCEPTION_V3.rsplit("/", 1)[1]


@dataclass(frozen=True, kw_only=True)
class InceptionExtractor(Extractor):
    """Inception-v3 with the weights converted from TensorFlow (2015-12-05), in torch-fidelity's format.

    `weights` is their file; without one, it is looked for in torch's hub cache, and downloaded into it once. Their
    SHA-256 has to begin with `sha256`. Only with the standard weights do metrics have names without a suffix. A new
    run whose weights cannot be had is scored with the extractor `otherwise`, and its config then names that one.
    """

    weights_family = "inception"

    weights: str | None
    sha256: str
    otherwise: Extractor | None

    def __post_init__(self) -> None:
        if len(self.sha256) < 8 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(
                f"sha256={self.sha256} must be at least the first 8 hexadecimal digits of the weights' SHA-256"
            )

    def load(self) -> LoadedExtractor:
        return in_background("reading the Inception weights", self.read, self.find())

    def read(self, path: Path) -> LoadedExtractor:
        try:
            digest = sha256(path)
        except OSError as error:
            raise ValueError(f"the Inception weights cannot be read: {one_line(error)}") from error
        if not digest.startswith(self.sha256):
            raise ValueError(
                f"{printable(path)} is not the expected Inception weights: its SHA-256 begins with {digest[:8]}, "
                f"not {self.sha256}; remove the file to fetch it again, or set dataset.metrics.extractor.sha256"
            )
        try:
            network = network_with(path)
        except Exception as error:  # torch's reader raises nearly anything for a damaged file
            raise ValueError(f"{printable(path)} does not hold Inception weights in torch-fidelity's format") from error
        fold_batch_norms(network)
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
            if not is_there(Path(self.weights)):
                raise ValueError(
                    f"dataset.metrics.extractor.weights={printable(self.weights)} is not a file: "
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
        except (OSError, RuntimeError, HTTPException) as error:
            raise WeightsUnavailableError(
                f"the Inception weights could not be downloaded ({one_line(error)}): put {FILE_NAME} "
                f"(from {URL_INCEPTION_V3}) into {printable(target.parent)}, "
                "or set dataset.metrics.extractor.weights=<file>"
            ) from error
        finally:
            socket.setdefaulttimeout(timeout)


def network_with(path: Path) -> FeatureExtractorInceptionV3:
    """torch-fidelity's network with the weights in a file, which cannot run code or unpack to more than its size."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("torch writes weights uncompressed")
    torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would run code in the file
    return FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
    )


def fold_batch_norms(network: nn.Module) -> None:
    """Each batch norm becomes part of the convolution before it: the same features but for rounding, one layer less."""
    for block in network.modules():
        if isinstance(block, BasicConv2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.bn)
            block.bn = nn.Identity()  # type: ignore[assignment]
