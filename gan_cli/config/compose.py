"""Finds conf/ and composes configs without a command line and without changing Hydra's global state."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())  # wheel, or repository


def steps_of(images: float | int, *, _root_: DictConfig) -> int:
    """The steps in which the discriminator sees so many real images: `${steps_of:20e6}` in a config."""
    images_per_step = [_root_.get(key) for key in ("batch_size", "discriminator_steps")]
    if any(not isinstance(number, int) or number < 1 for number in images_per_step):
        return 1  # what is wrong with them is said where the whole config is checked
    return max(1, int(images // math.prod(images_per_step)))


OmegaConf.register_new_resolver("steps_of", steps_of, replace=True)


def loader(folders: Sequence[Path] = ()) -> ConfigLoader:
    """Hydra's loader of the choices in conf/ and in `folders`."""
    searched = create_config_search_path(str(CONF))
    for folder in folders:
        searched.prepend("command-line", f"file://{folder.absolute()}", anchor="schema")
    return ConfigLoaderImpl(searched)


def compose(
    name: str, overrides: Sequence[str], folders: Sequence[Path] = (), *, with_hydra: bool = False
) -> DictConfig:
    """The config `name`, unresolved; `with_hydra` keeps Hydra's own node.

    Choices in `folders` are found, too. Raises Hydra's exceptions.
    """
    with version_of_hydra():
        composed = loader(folders).load_configuration(name, [*overrides], RunMode.RUN, from_shell=False)
    if not with_hydra:
        with open_dict(composed):
            del composed["hydra"]
    return composed


def composed_files(name: str, overrides: Sequence[str], folders: Sequence[Path] = ()) -> list[tuple[Path, str]]:
    """The files that the config is composed of, the earlier ones overridden by the later, each with its place in it."""
    with version_of_hydra():
        found = loader(folders).compute_defaults_list(name, [*overrides], RunMode.RUN).defaults
    places = [(Path(f"{one.config_path}.yaml"), one.package or "") for one in found]
    return [
        (folder / file, place) for file, place in places for folder in (CONF, *folders) if (folder / file).is_file()
    ]


def studies(folders: Sequence[Path] = ()) -> dict[str, dict[str, Any]]:
    """Every study of conf/ and of `folders` as its file says, by name."""
    files = sorted(file for folder in (CONF, *folders) for file in (folder / "study").glob("*.yaml"))
    read: dict[str, Any] = {file.stem: OmegaConf.to_container(OmegaConf.load(file), resolve=False) for file in files}
    return {name: study for name, study in read.items() if isinstance(study, dict)}


@contextmanager
def version_of_hydra() -> Iterator[None]:
    """Inside, configs are composed by the rules of Hydra 1.3, as the commands compose them."""
    before = version.getbase()
    version.setbase("1.3")
    try:
        setup_globals()
        yield
    finally:
        version.VersionBase.instance().version_base = before
