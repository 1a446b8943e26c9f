"""Parts with trained weights: the protocol names them, and no extractor of the same family scores them."""

from gan_cli.config.build import build
from gan_cli.config.check import find_class
from gan_cli.config.nodes import Config, targets
from gan_cli.errors import UserError
from gan_cli.metrics.extractor import Extractor
from gan_cli.metrics.metrics import Scorer


def weights_families(config: Config) -> dict[str, str]:
    """The family of the trained weights in each part that has some, by its class's or its extractor's `weights_family`.

    A generator that is trained against a network's features is near the data in them without being so elsewhere
    (Kynkaanniemi et al. 2023, arXiv:2203.06026): its score with a network of that family is no measure of its images.
    """
    parts = {key: node for key, node in config.items() if key != "dataset"}
    families = {path: family_of(path, node) for path, node in targets(parts)}
    return {path: family for path, family in families.items() if family is not None}


def family_of(path: str, node: Config) -> str | None:
    """An extractor's may depend on its settings."""
    target = find_class(path, node["_target_"])
    family: str | None = getattr(build(path, node) if issubclass(target, Extractor) else target, "weights_family", None)
    return family


def trained_weights(config: Config) -> dict[str, str | int | float]:
    """What the protocol says of them."""
    families = sorted(set(weights_families(config).values()))
    return {"trained_weights": ", ".join(families)} if families else {}


def check_weights_families(config: Config, scorer: Scorer | None) -> None:
    """Raises UserError for a part with trained weights of the family that the extractor is of."""
    scoring = () if scorer is None else scorer.weights_families
    for path, family in weights_families(config).items():
        if family in scoring:
            raise UserError(
                f"{path} has trained weights of the family {family}, as a network that scores it: choose metrics of "
                "another one with metrics@dataset.metrics=<choice>, or leave it out of dataset.metrics.also"
            )
