"""Completes gan-sweep's command line before Hydra parses it: with the sweep's folder, and a default study."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.compose import CONF, compose, loader
from gan_cli.config.hints import config_folders, introduced_by
from gan_cli.config.overrides import choices, key_of, quoted, value_of
from gan_cli.errors import UserError
from gan_cli.runs.folder import fresh
from gan_cli.sweep.options import NOT_OF_A_SWEEP, SWEEPING
from gan_cli.sweep.sweep_folder import fingerprint, newest_of_kind

if TYPE_CHECKING:
    from gan_cli.sweep.formats import Kind

DEFAULT_STUDY = "comparison"
METHODS = {"objective", "experiment", "latent_sampler"}  # a command line with one of these says what to compare
GRID = "grid"  # the sweeper that is no search
OWN_LAUNCHERS = ("submitit_slurm", "ray")
SEEDS = {"seed", "hydra.sweeper.params.seed"}
MOST_OF_NAME = 40  # characters
ANY_VALUE = {"seed", "objective"}  # a later command may add values of these to the same table


@dataclass(frozen=True)
class Prepared:
    """The sweep's folder, the method that the others are compared with, and the package of the study's own picture."""

    folder: Path
    baseline: str | None
    dry_run: bool
    trust: list[str]


def prepare() -> Prepared | None:
    """Completes sys.argv with the sweep's folder; None for a command line that only asks for help."""
    forget_other_launchers()
    flags = get_args_parser().parse_args(sys.argv[1:])
    if flags.help or flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
        return None
    overrides = OverridesParser.create().parse_overrides(flags.overrides)
    for override in overrides:
        if key_of(override) in NOT_OF_A_SWEEP:
            raise UserError(f"remove {override.input_line}: {NOT_OF_A_SWEEP[key_of(override)]}")
        if key_of(override) == "seeds":
            raise UserError(f"{override.input_line}: seeds are given as seed=0,1,2")
    extra = [] if chooses(overrides) else [f"study={DEFAULT_STUDY}"]
    options = compose_options(overrides)
    searching = any(key_of(override) == "hydra/sweeper" and override.value() != GRID for override in overrides)
    if options.dry_run and searching:
        raise UserError("dry_run lists the jobs of a grid, but a search chooses them while it runs: remove dry_run")
    for name in ("race", "tuned"):
        if options[name] and searching:
            raise UserError(f"{name}=true is for jobs of a grid, but a search chooses its own: remove {name}=true")
    if options.race and options.tuned:
        raise UserError("tuned=true races the learning rates of each method: remove race=true")
    folder = find(options, kind_of([*flags.overrides, *extra]))
    extra.append(f"sweep_dir={quoted(folder.absolute())}")
    known = dict(zip(flags.overrides, map(of_some_jobs, overrides), strict=True))
    if searching:
        seeds = {override.input_line or "": found for override in overrides if (found := seeds_of(override))}
        for word, found in seeds.items():  # fixed for the search; each trial runs all of them
            known[word] = found[0]
            extra.append(f"seeds=[{','.join(map(value_of, found))}]")
        extra += continued(overrides)
    where = sys.argv.index(flags.overrides[-1]) + 1 if flags.overrides else len(sys.argv)
    before = [known.get(word, word) for word in sys.argv[1:where]]
    sys.argv[1:] = ["--multirun"] * (not flags.multirun) + before + extra + sys.argv[where:]
    picture = OmegaConf.select(options, "study.picture")
    trust = [picture.split(".")[0]] if isinstance(picture, str) else []
    return Prepared(folder, options.baseline, options.dry_run, trust)


def forget_other_launchers() -> None:
    """Hydra's plugins for SLURM and Ray, if installed, have forms of the same names, which ours would have to fit."""
    Plugins.instance()  # imports them
    launchers = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for name in OWN_LAUNCHERS:
        launchers.pop(f"{name}.yaml", None)


def chooses(overrides: Sequence[Override]) -> bool:
    """Whether the command line says what to compare."""
    named = {key_of(override) for override in overrides}
    swept = {key_of(override) for override in overrides if override.is_sweep_override()}
    return bool(named & (METHODS | {"study", "hydra/sweeper"}) or swept - {"seed"})


def kind_of(arguments: Sequence[str]) -> "Kind":
    """Commands of one kind share a table: they may differ in seeds, objectives, and values of the keys they sweep."""
    overrides = OverridesParser.create(loader(config_folders()[1:])).parse_overrides(list(arguments))
    ignored = ANY_VALUE | (set(SWEEPING) - {"study"})
    values = {key_of(override): choices(override) for override in overrides}
    counted = {key: found for key, found in values.items() if key not in ignored and not key.startswith("hydra")}
    return {
        "settings": sorted(found[0] for found in counted.values() if len(found) == 1),
        "swept": sorted(key for key, found in counted.items() if len(found) != 1),
    }


def of_some_jobs(override: Override) -> str:
    """The override as a sweep over one value, if it sets a key of a choice: Hydra then applies it only to the jobs."""
    text, key = override.input_line or "", override.get_key_element()
    group, *inner = key_of(key).split(".")
    of_a_choice = inner and group != "hydra" if (CONF / group).is_dir() else introduced_by(key)
    value = text.partition("=")[2]
    if override.is_sweep_override() or override.is_delete() or not of_a_choice or not value:
        return text
    return f"{key}=choice({value})"


def seeds_of(override: Override) -> list[str]:
    """Each seed over which a search is to average, as an override of its own; empty for other keys."""
    if key_of(override) not in SEEDS:
        return []
    value = override.value()
    typed = value if isinstance(value, str) else (override.input_line or "").partition("=")[2]
    found = choices(OverridesParser.create().parse_override(f"seed={typed}"))
    if not found:
        raise UserError(f"{override.input_line}: seeds are not searched, each trial runs all of them: give seed=0,1,2")
    return list(dict.fromkeys(found))


def continued(overrides: Sequence[Override]) -> list[str]:
    """What lets the same command continue a search, as overrides: a seed for a sampler that takes one and has none.

    The search then asks for the same trials again, whose results are in the sweep's folder, and goes on after them. A
    trial without a value does not end it: it would end there each time.
    """
    given = {key_of(override): override.input_line or "" for override in overrides}
    own = [line for key, line in given.items() if key.startswith(("hydra/sweeper", "hydra.sweeper.sampler"))]
    try:
        sweeper = compose("sweep", own, config_folders()[1:], with_hydra=True).hydra.sweeper
    except HydraException:  # a sweeper that is not installed is told when the search is started
        return []
    extra = []
    if "max_failure_rate" in sweeper and "hydra.sweeper.max_failure_rate" not in given:
        extra.append("hydra.sweeper.max_failure_rate=1.0")
    kept = "hydra.sweeper.storage" in given  # by Optuna, in a database: that study goes on by itself
    if not kept and OmegaConf.select(sweeper, "sampler.seed", default="absent") is None:
        extra.append("hydra.sweeper.sampler.seed=0")
    return extra


def compose_options(overrides: Sequence[Override]) -> DictConfig:
    """The options of the sweep; the other overrides may compose only within a job."""
    wanted = {*SWEEPING, "outputs"}
    own = [o.input_line or "" for o in overrides if key_of(o).split(".")[0] in wanted]
    return compose("sweep", own, config_folders()[1:])


def find(options: DictConfig, kind: "Kind") -> Path:
    """The given folder, or the newest of the same kind, or a new one, which is not created yet."""
    if options.sweep_dir is not None:
        return Path(options.sweep_dir)
    sweeps = Path(options.outputs) / "sweeps"
    known = newest_of_kind(sweeps, kind)
    if known is not None:
        return known.path
    studied = [setting.partition("=")[2] for setting in kind["settings"] if key_of(setting) == "study"]
    name = "-".join(studied or kind["swept"]) or "sweep"
    return fresh(sweeps, f"{name[:MOST_OF_NAME]}-{fingerprint(kind)}")  # by which newest_of_kind knows it
