"""A trained run, opened for scoring or sampling."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gan_cli.config.build import build_dataset, build_gan, build_imposed
from gan_cli.config.limits import no_more_weights_than
from gan_cli.config.nodes import Config
from gan_cli.config.trust import check_config, placed
from gan_cli.datasets.dataset import Dataset
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.experiment import GAN
from gan_cli.files import slug
from gan_cli.runs import averages, checkpoint
from gan_cli.runs.checkpoint import Checkpoint
from gan_cli.runs.origin import is_ours
from gan_cli.runs.progress import showing_work
from gan_cli.runs.summary import SCORED
from gan_cli.text import printable


@dataclass(frozen=True)
class Trained:
    found: Checkpoint
    config: Config
    gan: GAN
    dataset: Dataset
    ema: float | None = None  # the relative width of a rebuilt average, in place of the run's own
    profile_error: float | None = None

    @property
    def weights(self) -> str:
        """The name of the weights that are scored and drawn."""
        return SCORED if self.ema is None else f"power-function average of relative width {self.ema:g}"

    @property
    def name(self) -> str:
        """The name for results of this checkpoint."""
        average = "" if self.ema is None else f"-ema-{self.ema:g}"
        return slug(f"{run_folder(self.found).name}-step-{self.found.step}{average}")


def open_trained(
    path: Path, which: str, trust: list[str], root: str | None, engine: Engine, ema: float | None = None
) -> Trained:
    """Opens and checks the checkpoint, builds the networks and restores them; `root` is where the data is now.

    The moving average is the run's, or one of relative width `ema` rebuilt from the run's snapshots. Raises UserError
    for a checkpoint that is missing, damaged or not trusted, for a `root` if the data has none, and for an average that
    cannot be rebuilt.
    """
    found = checkpoint.find(path, which)
    config = trusted_config(found, trust, root)
    with within(found):
        gan = build_gan(config, found.image_shape, found.class_counts, engine, build_imposed(config, engine))
    found.restore(gan.parts())
    apart = None
    if ema is not None:
        with showing_work():
            apart = averages.rebuild(gan.ema_generator, run_folder(found) / "averages", found, ema)
    return Trained(found, config, gan, build_dataset(config), ema, apart)


def run_folder(found: Checkpoint) -> Path:
    return found.folder.resolve().parents[1]


@contextmanager
def within(found: Checkpoint) -> Iterator[None]:
    """Inside, what is built from the checkpoint's config may hold no more weights than the checkpoint has bytes."""
    try:
        with no_more_weights_than(found.num_bytes):
            yield
    except UserError as error:
        raise UserError(f"the config of {found.folder} is refused: {printable(error)}") from error


def trusted_config(found: Checkpoint, trust: list[str], root: str | None, *, download: bool = False) -> Config:
    """The checkpoint's config, after a check of everything in it, with its data at `root`, if that is given.

    Raises UserError for a config that is refused.
    """
    ours = is_ours(found.config, found.signature)
    try:
        config = placed(found.config, ours=ours, root=root, download=download)
        check_config(config, trust, ours=ours)
        if found.step > config["steps"]:
            raise UserError(f"step {found.step} is beyond steps={config['steps']}")
        return config
    except UserError as error:
        raise UserError(f"the config of {found.folder} is refused: {printable(error)}") from error
