"""The text of --help: what a command line can choose and set, with the comments of conf/; without torch."""

import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from gan_cli.config.compose import CONF, compose, composed_files
from gan_cli.config.hints import choices_of, config_folders
from gan_cli.config.nodes import flatten
from gan_cli.config.overrides import quoted

COLUMNS, INDENT, LEFT = 80, 2, 30
TRAINING = ("train", "sweep")  # these commands take every choice
FOR_TRAINING = "For training:"  # how the comment of a choice begins that only they take
CHOOSING = "Choices beside --help show their settings: --help {example}\n"
FLAGS = """\
Flags: --version; --cfg job, the config as YAML; --info, how it is composed;
--config-dir <folder>, choices of your own; --hydra-help, Hydra's own flags."""


def help_text(command: str, overrides: Sequence[str], hidden: Collection[str] = ()) -> str:
    """What the command does, its choices and its settings, in 80 columns; without the keys `hidden`, which it refuses.

    Raises Hydra's exceptions for overrides that do not compose.
    """
    folders = config_folders()[1:]
    composed = compose(command, overrides, folders, with_hydra=True)
    files = composed_files(command, overrides, folders)
    comments = {key: text for file, place in files for key, text in comments_of(file, place).items()}
    groups = groups_of(command, composed, files)
    blocks = [composed.hydra.help.header.strip()]
    if groups:
        rows = [row(group, choices_text(command, group, now, comments)) for group, now in groups.items()]
        blocks.append("\n".join(["Choices, group=choice:", *rows]))
    settings = {key: value for key, value in settings_of(composed).items() if key.split(".")[0] not in hidden}
    titles = {group.rpartition("@")[2]: f"{group}={shown(now)}" for group, now in groups.items() if now}
    for title, keys in sections(command, settings, titles).items():
        rows = [row(f"{key}={typed(settings[key])}", comments.get(key, "")) for key in keys]
        blocks.append("\n".join([f"{title}:", *rows]))
    example = "objective=realness" if "objective" in groups else "latent_sampler=advlat_z"
    blocks.append((CHOOSING.format(example=example) if groups else "") + FLAGS)
    return "\n\n".join(blocks)


def row(name: str, text: str) -> str:
    """A name, and beside it its text, which begins below it if the name is too long."""
    margin = INDENT + LEFT + 2
    lines = textwrap.wrap(text, COLUMNS - margin, break_on_hyphens=False)
    first = [" " * INDENT + name] if len(name) > LEFT else []
    beside = [" " * margin + line for line in lines]
    if not first:
        beside[:1] = [(" " * INDENT + name.ljust(LEFT + 2) + "".join(lines[:1])).rstrip()]
    return "\n".join(first + beside)


def groups_of(command: str, composed: DictConfig, files: Sequence[tuple[Path, str]]) -> dict[str, list[str]]:
    """Every group of the command, as it is typed, with what is chosen in it."""
    listed = [entry for file, place in files if not place for entry in defaults_of(file)]
    groups = [group for group, value in listed if not group.startswith(("override ", "/"))]
    choices = {str(group): choice for group, choice in composed.hydra.runtime.choices.items()}
    of_others = ("hydra/",) if command in TRAINING else ("hydra/", "latent_sampler@")  # a prior is the checkpoint's own
    groups += [group for group in choices if group not in groups and not group.startswith(of_others)]
    several = {group: [file.stem for file, _ in files if file.parent.name == group] for group in groups}
    return {group: [choices[group]] if choices.get(group) else several[group] for group in groups}


def choices_text(command: str, group: str, now: Sequence[str], comments: Mapping[str, str]) -> str:
    """Every choice that the command takes, the current one marked, and the comment of the group."""
    names = [
        name
        for name in choices_of(group)
        if command in TRAINING or not first_comment(group, name).startswith(FOR_TRAINING)
    ]
    text = ", ".join(f"{name} (now)" if name in now else name for name in names)
    return f"{text}; {comments[group_key(group)]}" if group_key(group) in comments else text


def sections(command: str, settings: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, list[str]]:
    """The keys under the title of the choice that they belong to; the command's own come first."""
    own = flatten(OmegaConf.to_container(OmegaConf.load(CONF / f"{command}.yaml")))
    found: dict[str, list[str]] = {"Settings, key=value": [key for key in settings if key in own]}
    for key in settings:
        places = [place for place in titles if key.startswith(f"{place}.")]
        title = titles[max(places, key=len)] if places else "Settings, key=value"
        if key not in own:
            found.setdefault(title, []).append(key)
    return found


def settings_of(composed: DictConfig) -> dict[str, Any]:
    """Every value that can be typed, by its key; not those that follow a key of the root, as latent_dim does."""
    values: dict[str, Any] = OmegaConf.to_container(composed)  # type: ignore[assignment]
    del values["hydra"]
    return {
        key: value
        for key, value in flatten(values).items()
        if not key.endswith("_target_") and not re.fullmatch(r"\$\{\w+\}", str(value))
    }


def typed(value: Any) -> str:
    """The value as it is written in an override."""
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{typed(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str) or value == "???" or "${" in value:
        return str(value)
    try:
        plain = OverridesParser.create().parse_override(f"key={value}").value() == value
    except HydraException:
        plain = False
    return value if plain else quoted(value)


def comments_of(file: Path, place: str) -> dict[str, str]:
    """The comment beside each setting of a file, by the setting's key; of each group, by `group_key`."""
    lines = file.read_text(encoding="utf-8").splitlines()
    root = yaml.compose("\n".join(lines))
    found = {}
    for path, value in values_in(root, place):
        comment = re.match(r"\s+#\s*(.+)", lines[value.end_mark.line][value.end_mark.column :])
        if comment:
            found[path] = comment[1].strip()
    return found


def values_in(node: yaml.Node | None, path: str) -> Iterator[tuple[str, yaml.Node]]:
    """Every value with its key; the entries of the defaults list by `group_key`."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if key.value == "defaults" and isinstance(value, yaml.SequenceNode):
            for entry in value.value:
                yield from ((group_key(name), one) for name, one in values_in(entry, ""))
        elif isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from values_in(value, f"{path}.{key.value}".lstrip("."))
        else:
            yield f"{path}.{key.value}".lstrip("."), value


def group_key(group: str) -> str:
    return f"defaults {group}"


def defaults_of(file: Path) -> list[tuple[str, Any]]:
    """The entries of a file's defaults list."""
    entries = (OmegaConf.to_container(OmegaConf.load(file)) or {}).get("defaults", [])  # type: ignore[union-attr]
    return [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]


def first_comment(group: str, choice: str) -> str:
    """What a choice's file says of itself in its first line; empty if it begins with something else."""
    files = [folder / group.partition("@")[0] / f"{choice}.yaml" for folder in config_folders()]
    texts = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
    return texts[0].partition("\n")[0].lstrip("# ") if texts and texts[0].startswith("#") else ""


def shown(chosen: Sequence[str]) -> str:
    return chosen[0] if len(chosen) == 1 else f"[{','.join(chosen)}]"
