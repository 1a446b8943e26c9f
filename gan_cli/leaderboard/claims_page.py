"""What became of claims: claim.json of a sweep, and a page of many of them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

from gan_cli.errors import UserError, one_line
from gan_cli.files import atomic, read_json, write_json
from gan_cli.leaderboard.claims import overall, parts_of
from gan_cli.leaderboard.results import Result
from gan_cli.leaderboard.tables import decimals, fixed, number
from gan_cli.text import markdown_cell, printable

if TYPE_CHECKING:
    from gan_cli.sweep.formats import Content, Outcome

NOT_RUN = "not run"
OF_A_MACHINE = {"sweep_dir", "slots_per_device", "device", "dataset.root"}  # where and how fast, not what


def outcome(sweep: "Content", results: Sequence[Result]) -> "Outcome | None":
    """What the sweep's runs say to its study's claim; None without a claim, or before a run is completed."""
    from gan_cli.sweep.formats import Outcome, PartOfOutcome

    claim, study = sweep.get("claim"), sweep.get("study")
    done = [result for result in results if result.state == "completed"]
    if not claim or not study or not done:
        return None
    parts = parts_of(claim, results)
    lost = [result.state for result in results if result.state != "completed"]
    machines = dict.fromkeys(machine(result.summary.get("hardware") or {}) for result in done)
    found: Outcome = {
        "study": study,
        "says": claim["says"],
        "source": claim["source"],
        "remarks": claim.get("remarks", []),
        "command": [word for word in sweep.get("command", []) if word.partition("=")[0] not in OF_A_MACHINE],
        "verdict": overall(parts),
        "parts": [PartOfOutcome(**asdict(part)) for part in parts],  # type: ignore[typeddict-item]
        "runs": len(done),
        "lost": {state: lost.count(state) for state in dict.fromkeys(lost)},
        "seconds": sum(r.summary["cost"].get("seconds", 0) + r.summary["cost"].get("scoring_seconds", 0) for r in done),
        "machines": list(machines),
        "ended": max(str(result.summary.get("ended", "")) for result in done),
        "versions": {key: done[-1].summary.get("versions", {}).get(key, "") for key in ("gan_cli", "torch")},
    }
    return found


def machine(hardware: Mapping[str, Any]) -> str:
    threads = hardware.get("threads", 1)
    parts = [hardware.get("gpu"), hardware.get("cpu"), f"{threads} thread{'s' * (threads != 1)} a run"]
    return ", ".join(printable(part) for part in parts if part)


def sentences(found: "Outcome") -> list[str]:
    """The claim and its verdict, and a line for each part."""
    lines = [f"Claim: {found['says']} ({found['source']}): {found['verdict']}."]
    return lines + [
        f"  {part['says']}: {shown(part)} over {part['n']} seeds, expected {part['expected']}: {part['word']}."
        for part in found["parts"]
    ]


def shown(part: Mapping[str, Any]) -> str:
    """The mean and its interval, with as many digits as it justifies."""
    if part["mean"] is None:
        return "no runs"
    if part["interval"] is None:
        return number(part["mean"])
    ends = low, high = part["interval"]
    digits = decimals(max(map(abs, ends)), (high - low) / 2)
    mean, low, high = (number(one) if digits is None else fixed(one, digits) for one in (part["mean"], *ends))
    return f"{mean} ({low} to {high})"


def keep(found: "Outcome", folder: Path, drawn: Sequence[Path]) -> None:
    """Puts the outcome, and the study's pictures in place of earlier ones, among those of other studies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{found['study']}.json", found)
        for earlier in pictures(folder, found["study"]):
            earlier.unlink()
        for picture in drawn:
            copyfile(picture, folder / picture.name.replace("study", found["study"], 1))
    except OSError as error:
        raise UserError(f"claims={printable(folder)} cannot be written: {one_line(error)}") from error


def write_page(folder: Path, studies: Mapping[str, Mapping[str, Any]]) -> Path:
    """The page of the outcomes in `folder`, beside it; `studies` by name, of which those with a claim are listed.

    Raises UserError for a file that is not an outcome, and for a page that cannot be written.
    """
    path = folder.with_name(f"{folder.resolve().name}.md")
    text = page(folder, studies)
    try:
        with atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be written: {one_line(error)}") from error
    return path


def page(folder: Path, studies: Mapping[str, Mapping[str, Any]]) -> str:
    found = outcomes(folder)
    claimed = {name: study["claim"] for name, study in studies.items() if study.get("claim")}
    names = sorted(claimed.keys() | found.keys())
    lines = [
        "# Claims",
        "",
        "What papers say, each a study that runs with one command and judges its own runs. A claim is *shown* if the",
        "95 % interval over seeds (Student's) lies where it is expected, for every part. It is *contradicted* if the",
        "interval of some part lies elsewhere and no part is shown, and *not shown* in all other cases.",
        f"`gan-report claims={folder.name}` writes this page from the files in that folder, and `gan-report <sweep>",
        f"claims={folder.name}` adds what a sweep has found.",
        "",
        "| study | claim | source | verdict |",
        "| --- | --- | --- | --- |",
    ]
    for name in names:
        said: Mapping[str, Any] = found.get(name, claimed.get(name, {}))
        verdict = in_words(found[name]) if name in found else NOT_RUN
        link = f"[`{name}`](#{name})" if name in found else f"`{name}`"
        lines.append(f"| {link} | {markdown_cell(said['says'])} | {markdown_cell(said['source'])} | {verdict} |")
    for name in names:
        if name in found:
            lines += ["", *section(found[name], folder)]
    return "\n".join(lines) + "\n"


def in_words(found: "Outcome") -> str:
    """The verdict, and of one that only some parts deny how many are shown."""
    shown = sum(part["word"] == "shown" for part in found["parts"])
    of = f" ({shown} of {len(found['parts'])} parts are)" if found["verdict"] == "not shown" and shown else ""
    return f"{found['verdict']}{of}"


def section(found: "Outcome", folder: Path) -> list[str]:
    lost = "".join(f", {count} {state}" for state, count in found["lost"].items())
    cost = (
        f"{found['runs']} runs{lost}, {found['seconds'] / 60:,.0f} minutes of training and scoring one after the other"
    )
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = "; ".join([*found["machines"], versions, found["ended"][:10]])
    lines = [
        f"## {found['study']}",
        "",
        f"{markdown_cell(found['says'])} ({markdown_cell(found['source'])})",
        "",
        f"**{in_words(found).capitalize()}.** {cost}; {where}.",
        "",
        "```",
        shlex.join(found["command"]),
        "```",
        "",
        "| what | expected | mean (95 % interval) | seeds | |",
        "| --- | --- | ---: | ---: | --- |",
        *(
            f"| {markdown_cell(part['says'])} | {part['expected']} | {shown(part)} | {part['n']} | {part['word']} |"
            for part in found["parts"]
        ),
    ]
    if found["remarks"]:
        lines += ["", *(markdown_cell(remark) for remark in found["remarks"])]
    for picture in pictures(folder, found["study"]):
        lines += ["", f"![{found['study']}]({folder.name}/{picture.name})"]
    return lines


def pictures(folder: Path, study: str) -> list[Path]:
    """The study's pictures there: one for each of its tables."""
    numbered = [path for path in folder.glob(f"{study}-*.png") if path.stem.removeprefix(f"{study}-").isdecimal()]
    return sorted([*folder.glob(f"{study}.png"), *numbered], key=lambda path: (len(path.stem), path.stem))


def outcomes(folder: Path) -> "dict[str, Outcome]":
    """The outcomes by study; raises UserError for a file that holds something else."""
    from gan_cli.sweep.formats import Outcome

    found: dict[str, Outcome] = {}
    for file in sorted(folder.glob("*.json")):
        try:
            found[file.stem] = read_json(file, Outcome)
        except (OSError, ValueError) as error:
            raise UserError(f"{printable(file)} is not the outcome of a claim: {one_line(error)}") from error
    return found
