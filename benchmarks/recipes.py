"""The memory and FLOPs of every recipe of docs/recipes.md, for its table: python -m benchmarks.recipes

Nothing is trained; the data need not be there.
"""

import re
import warnings

from gan_cli.commands.estimate import in_bytes, in_flops, needs_of
from gan_cli.config.compose import CONF
from gan_cli.config.read import config_of

ROOTS = {"realness_ffhq1024": ["dataset.root=."]}  # it has no default


def row(name: str) -> str:
    needs = needs_of(config_of([f"experiment={name}", *ROOTS.get(name, [])]))
    found, steps = needs.estimate, needs.experiment.settings.steps
    parameters = " / ".join(f"{count / 1e6:.3g} M" for count in found.parameters.values())
    memory = f"{in_bytes(found.memory)} | {in_bytes(found.step)}"
    return f"| `{name}` | {parameters} | {memory} | {in_flops(found.flops)} | {in_flops(found.flops * steps)} |"


def recipes() -> list[str]:
    """The recipes that begin a row of the page, in its order."""
    rows = re.findall(r"^\| (`.*?) \|", (CONF.parent / "docs" / "recipes.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    return [name for name in dict.fromkeys(names) if (CONF / "experiment" / f"{name}.yaml").is_file()]


def main() -> None:
    warnings.simplefilter("ignore")  # of regularizers that are never due in a short run
    print("| recipe | parameters, D / G | memory | of which a step | FLOPs a step | FLOPs in all |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name in recipes():
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
