"""Who imports whom in gan_cli: python -m tests.layers prints the core's size, arrows that run up, and circles."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gan_cli"
# A layer is a folder or root module of its own name, but for ground and core. Lowest first: each imports itself and
# lower ones.
GROUND = (
    "text",
    "launched",
    "ranks",
    "errors",
    "files",
    "shapes",
    "seeding",
    "double_backward",
    "gradients",
    "kept",
    "part",
    "ranges",
    "schedule",
    "work",
    "engine",
    "data",
    "isolation",
    "ema",
    "networks",
)
CORE = ("turns", "experiment", "feed", "iteration", "capture", "trainer", "evaluation", "estimate")
LAYERS = (
    *("ground", "attacks", "metrics", "objectives", "augmentations", "models", "conditioning", "trackers", "game"),
    *(
        "regularizers",
        "latent_samplers",
        "datasets",
        "core",
        "config",
        "runs",
        "commands",
        "sweep",
        "leaderboard",
        "cli",
        "__main__",
        "gan_cli",
    ),
)
MAY_IMPORT_HYDRA = ("config", "sweep", "cli")
Arrows = dict[str, set[str]]


def imports(package: Path = PACKAGE) -> Arrows:
    """What each module of the package imports, also inside functions and for type checking alone."""
    paths = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in package.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    arrows: Arrows = {}
    for module, path in modules.items():
        inside = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = [name for node in ast.walk(ast.parse(path.read_text())) for name in imported(node, inside)]
        arrows[module] = {parent if parent in modules and name not in modules else name for parent, name in names}
        arrows[module].discard(module)
    return arrows


def imported(node: ast.AST, inside: str) -> Iterator[tuple[str, str]]:
    """Each imported name after the module it may be an attribute of; leading dots count from the package `inside`."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = inside.split(".")[: inside.count(".") + 2 - node.level] if node.level else []
        parent = ".".join([*above, *([node.module] if node.module else [])])
        names = [alias.name for alias in node.names if alias.name != "__version__"]  # the package's, of no module in it
        yield from ((parent, f"{parent}.{name}") for name in names)


def layer(module: str) -> str:
    name = module.split(".")[1] if "." in module else module
    return "ground" if name in GROUND else "core" if name in CORE else name


def rank(module: str) -> int:
    """A module in no layer stands below all of them."""
    return LAYERS.index(layer(module)) if layer(module) in LAYERS else -1


def unplaced(arrows: Arrows) -> list[str]:
    """Modules in no layer."""
    return sorted(module for module in arrows if layer(module) not in LAYERS)


def arrows_up(arrows: Arrows) -> list[str]:
    """Imports of a module in a higher layer."""
    return sorted(f"{module} -> {target}" for module, target in within(arrows) if rank(module) < rank(target))


def hydra_outside(arrows: Arrows) -> list[str]:
    """Imports of Hydra or omegaconf outside the layers that are about configuration."""
    return sorted(
        f"{module} -> {target}"
        for module, targets in arrows.items()
        for target in targets
        if target.split(".")[0] in ("hydra", "omegaconf") and layer(module) not in MAY_IMPORT_HYDRA
    )


def between_layers(arrows: Arrows) -> Arrows:
    """The arrows from layer to layer."""
    found: Arrows = {}
    for module, target in within(arrows):
        if layer(module) != layer(target):
            found.setdefault(layer(module), set()).add(layer(target))
    return found


def within(arrows: Arrows) -> Iterator[tuple[str, str]]:
    return ((module, target) for module, targets in arrows.items() for target in targets if target in arrows)


def circles(arrows: Mapping[str, Set[str]]) -> list[str]:
    """Sets of nodes that reach one another."""
    reached = {node: reach(arrows, node) for node in arrows}
    found = {frozenset(other for other in reached[node] if node in reached.get(other, ())) for node in arrows}
    return sorted(" <-> ".join(sorted(circle)) for circle in found if circle)


def reach(arrows: Mapping[str, Set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def show_size(title: str, names: Iterable[str]) -> None:
    files = [path for name in names if (path := PACKAGE / f"{name}.py").is_file()]
    lines = sum(len(path.read_text().splitlines()) for path in files)
    print(f"{title}: {lines} lines ({', '.join(path.stem for path in files)})")


def violations(arrows: Arrows) -> dict[str, list[str]]:
    """What breaks each rule."""
    return {
        "modules in no layer": unplaced(arrows),
        "arrows that run up": arrows_up(arrows),
        "circles between modules": circles(arrows),
        "circles between layers": circles(between_layers(arrows)),
        "Hydra outside config, sweep and cli": hydra_outside(arrows),
    }


def main() -> None:
    show_size("core", ("game", *CORE))
    show_size("ground", GROUND)
    for rule, found in violations(imports()).items():
        print(f"{rule}: {len(found)}", *found, sep="\n    ")


if __name__ == "__main__":
    main()
