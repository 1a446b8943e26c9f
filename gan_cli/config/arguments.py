"""The command line before Hydra parses it: flags may be anywhere, and a slip is answered with the words to write."""

import difflib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import ListConfig, OmegaConf

from gan_cli.config.hints import choices_of, chosen, composed_choices, known_keys, matches
from gan_cli.config.overrides import key_of, placed, quoted, value_of
from gan_cli.errors import UserError

# keys that a word without one is for
BARE = {
    "eval": "checkpoint",
    "sample": "checkpoint",
    "export": "checkpoint",
    "report": "folders",
    "verify": "folder",
}
PATHS = {
    "checkpoint",
    "resume",
    "run_dir",
    "outputs",
    "sweep_dir",
    "out",
    "root",
    "weights",
    "images",
    "reference",
    "init_from",
    "folder",
}  # last parts of keys
FOLDER_OF = {"train": "run_dir=<folder> or outputs=<folder>", "sweep": "sweep_dir=<folder>"}
NOT_USED = ("hydra.run", "hydra.sweep", "hydra.output_subdir", "hydra.job.chdir")
SHOWS = ("--help", "--cfg", "--info")  # flags that show one config and run nothing
MODES = (*SHOWS, "--hydra-help", "--run", "--multirun")
REFUSED_FLAGS = {
    "--config-path": "choices in a folder of your own are found with --config-dir <folder>",
    "--config-name": "each command has one config, and choices of your own are found with --config-dir <folder>",
    "--experimental-rerun": "gan-train resume=<run> continues a run",
}


@dataclass(frozen=True)
class Arguments:
    """What a command line says: flags by their long names, and overrides, each `key=value`."""

    flags: Mapping[str, str | None]
    overrides: Sequence[str]

    @property
    def words(self) -> list[str]:
        """The command line as Hydra takes it, flags first."""
        return [*(name if value is None else f"{name}={value}" for name, value in self.flags.items()), *self.overrides]


def read_arguments(command: str, words: Sequence[str]) -> Arguments:
    """Raises UserError with what to write for flags that do not exist, words without a key, and several values."""
    flags, unknown, rest = split_flags(words)
    if unknown:
        raise UserError(no_flags(command, unknown))
    if "--cfg" not in flags and (stray := {"--package", "--resolve"} & set(flags)):
        raise UserError(f"{stray.pop()} goes with --cfg: --cfg job shows the run's config")
    if len(modes := [flag for flag in MODES if flag in flags]) > 1 or (command == "sweep" and "--run" in flags):
        raise UserError(f"{' and '.join(modes)} cannot be combined" if len(modes) > 1 else "gan-train trains one run")
    if "--shell-completion" in flags:
        return Arguments(own_choices() | flags, rest)
    overrides = [in_quotes(word) for word in placed(with_keys(command, rest))]
    for override in overrides:
        key = key_of(override)
        if key == "hydra.mode":
            raise UserError("hydra.mode is not used: gan-train trains one run, gan-sweep many")
        if any(key == name or key.startswith(f"{name}.") for name in NOT_USED):
            raise UserError(f"{key} is not used: give {FOLDER_OF.get(command, 'out=<folder>')}")
    if command != "sweep" or any(flag in flags for flag in SHOWS):
        refuse_several(command, flags, overrides)
    return Arguments(flags, overrides)


def own_choices() -> dict[str, str | None]:
    """The --config-dir of the command line that a shell completes, which Hydra does not look for."""
    try:
        flags, _, _ = split_flags(os.environ.get("COMP_LINE", "").split()[1:])
    except UserError:  # it is not whole yet
        return {}
    return {flag: value for flag, value in flags.items() if flag == "--config-dir"}


def split_flags(words: Sequence[str]) -> tuple[dict[str, str | None], list[list[str]], list[str]]:
    """Hydra's flags; unknown ones, each with the word that may be its value; and the other words."""
    actions = {name: action for action in get_args_parser()._actions for name in action.option_strings}
    flags: dict[str, str | None] = {}
    unknown: list[list[str]] = []
    rest: list[str] = []
    remaining = [word for word in words if word != "--"]
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            rest.append(word)
        elif name not in actions:
            is_value = not equals and remaining and is_bare(remaining[0])
            unknown.append([word, remaining.pop(0)] if is_value else [word])
        else:
            action = actions[name]
            long, allowed = max(action.option_strings, key=len), [str(choice) for choice in action.choices or []]
            if long in REFUSED_FLAGS:
                raise UserError(f"{name} is not taken: {REFUSED_FLAGS[long]}")
            if action.nargs == 0:  # it takes no value
                if equals:
                    raise UserError(f"{name} takes no value: write {name}")
                flags[long] = None
                continue
            if not equals and remaining and (action.const is None or is_bare(remaining[0])):  # --info has a default
                value = remaining.pop(0)
            value = value or str(action.const or "")
            if not value or (allowed and value not in allowed):
                raise UserError(f"{name} needs a value: {name} {'|'.join(allowed) or '<value>'}")
            flags[long] = value
    return flags, unknown, rest


def is_bare(word: str) -> bool:
    return not word.startswith("-") and "=" not in word


def no_flags(command: str, unknown: Sequence[Sequence[str]]) -> str:
    """The problem of words such as `--steps 20`, with what to write in their place."""
    flags = [name for action in get_args_parser()._actions for name in action.option_strings if name[:2] == "--"]
    settings = [*known_keys(command), *chosen(command)]
    shown = " ".join(word for words in unknown for word in words)
    written = []
    for word, *values in unknown:
        name, _, value = word.partition("=")
        key = name.lstrip("-").replace("-", "_")
        found = matches(key, settings)
        if found != [key] and (near := difflib.get_close_matches(name, flags, n=1, cutoff=0.75)):
            return f"there is no flag {name}: did you mean {near[0]}?"
        if not found:
            return f"there is no flag {name}, and no such setting: see gan-{command} --help"
        written += [f"{one}={value or ' '.join(values) or example(command, one)}" for one in found]
    return f"settings have no dashes: write {' '.join(written)} in place of {shown}"


def example(command: str, key: str) -> str:
    """A value to show for a key that was given without one."""
    if key in chosen(command):
        return "<choice>"
    value = OmegaConf.select(composed_choices(command), key, throw_on_missing=False)
    return str(not value).lower() if isinstance(value, bool) else "<value>"


def with_keys(command: str, words: Sequence[str]) -> list[str]:
    """The words as overrides: those without a key get the one that the command has for them."""
    bare = [word for word in words if "=" not in word or (command in BARE and Path(word).exists())]
    bare = [word for word in bare if not word.startswith("~")]  # the removal of a key
    if not bare:
        return list(words)
    if slip := written_without_equals(command, words, bare):
        raise UserError(slip)
    overrides = [word for word in words if word not in bare]
    if command == "report":
        return [*overrides, f"folders=[{','.join(map(quoted, bare))}]"]
    if command in BARE and len(bare) == 1:
        return [*overrides, f"{BARE[command]}={quoted(bare[0])}"]
    if command in BARE:
        raise UserError(f"gan-{command} takes one {BARE[command]} at a time, not {shlex.join(bare)}")
    if bare[0] and Path(bare[0]).is_dir():
        key = "resume" if command == "train" else "sweep_dir"
        raise UserError(f"'{bare[0]}' is a folder: gan-{command} {shlex.quote(f'{key}={bare[0]}')} continues it")
    raise UserError(f"cannot read '{bare[0]}': write key=value; gan-{command} --help lists what can be set")


def written_without_equals(command: str, words: Sequence[str], bare: Sequence[str]) -> str:
    """The problem of `steps 20`, and of a choice without its group; empty for other words."""
    unclear = [word for word in bare if not Path(word).exists()]
    known = {*known_keys(command), *chosen(command)} if unclear else set()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in known and word in unclear:
            value = following if following in bare else example(command, word)
            return f"'{word}' has no value: write {word}={value}"
    for word in unclear:
        if groups := [group for group in chosen(command) if word in choices_of(group)]:
            return f"'{word}' is a choice: write {' or '.join(f'{group}={word}' for group in groups)}"
    return ""


def in_quotes(override: str) -> str:
    """The override, quoted for Hydra if its value is a path that exists and has a comma, a space, or the like in it.

    `~/` is the user's home, which shells expand only at the beginning of a word.
    """
    key, value = key_of(override), value_of(override)
    if key.rpartition(".")[2] not in PATHS:
        return override
    path = str(Path(value).expanduser()) if value.startswith("~/") else value
    return f"{override.partition('=')[0]}={quoted(path)}" if path != value or exists(path) else override


def exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # too long, or with a null character
        return False


def refuse_several(command: str, flags: Mapping[str, str | None], overrides: Sequence[str]) -> None:
    """Raises UserError for several values of one key, which only gan-sweep takes."""
    shown = next((flag for flag in SHOWS if flag in flags), None)
    swept = next(sweeps(overrides), None)
    if "--multirun" not in flags and swept is None:
        return
    if shown:
        raise UserError(f"{shown} shows one run: remove {swept or '--multirun'}")
    several = f"{swept} is several values" if swept else "--multirun is for several values"
    if command != "train":
        raise UserError(f"{several}, and gan-{command} takes one")
    many = f"gan-sweep {shlex.join(overrides)}".rstrip()
    value = OmegaConf.select(composed_choices(command), key_of(swept or ""), throw_on_missing=False)
    a_list = key_of(swept or "") in ("regularizer", "experiment") or isinstance(value, ListConfig)
    one = f"; as one list: {key_of(swept)}=[{value_of(swept)}]" if swept and a_list else ""
    raise UserError(f"{several}, and gan-train trains one run: {many}{one}")


def sweeps(overrides: Sequence[str]) -> Iterator[str]:
    parser = OverridesParser.create()
    for override in overrides:
        try:
            if parser.parse_override(override).is_sweep_override():
                yield override
        except HydraException:  # it is refused later, with Hydra's reason
            continue
