"""Random changes of plain data and of bytes, as damage and attackers make them."""

import copy
import random
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**18), 0.5, 1e308, -1e-320, float("inf"), float("nan")),
    *(
        "",
        " ",
        "\x00",
        "a" * 5000,
        "\x1b[31m",
        "\u202e",
        "../../etc/passwd",
        "/etc/passwd",
        "${oc.env:HOME}",
        "${steps}",
    ),
    *(
        "=1+1",
        "%s%n",
        "<script>alert(1)</script>",
        "\\input{x}",
        "os.system",
        "builtins.eval",
        "pathlib.Path.write_text",
    ),
    *("gan_cli.cli.os.system", "gan_cli", "torch.optim.Adam", "gan_cli.objectives.hinge.Hinge", "nan", "1e5", "\u00e9"),
    *([], {}, [[]], {"": {}}, [None], {"_target_": "os.system"}, {"_target_": None}, {"_target_": {}}, {"_args_": [1]}),
    *({"_target_": "gan_cli.latent_samplers.gaussian.Gaussian", "latent_dim": 10**9}, {"_partial_": True}),
    *({"start": 0, "end": 1, "until": 0, "shape": "linear"}, {"start": {}, "end": [], "until": "", "shape": 1}),
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below the node."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in items for place in ((*path, key), *places(value, (*path, key)))]


def mutated(node: Any, rng: random.Random) -> Any:
    """A copy with one to three changes: a value replaced, dropped, renamed, nested, or moved to another place."""
    changed = copy.deepcopy(node)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        paths = places(changed)
        if not paths:
            return rng.choice(ODD)
        *inside, key = rng.choice(paths)
        parent = changed
        for step in inside:
            parent = parent[step]
        action = rng.choice(("replace", "replace", "replace", "drop", "rename", "nest", "swap", "scale"))
        if action == "replace":
            parent[key] = copy.deepcopy(rng.choice(ODD))
        elif action == "drop":
            del parent[key]
        elif action == "rename" and isinstance(parent, dict):
            parent[str(rng.choice(ODD))] = parent.pop(key)
        elif action == "nest":
            for _ in range(rng.choice((1, 5, 150))):
                parent[key] = {"a": parent[key]} if rng.random() < 0.5 else [parent[key]]
        elif action == "swap":
            other: Any = changed
            for step in rng.choice(paths):
                if not isinstance(other, dict | list) or (isinstance(other, dict) and step not in other):
                    break
                if isinstance(other, list) and (not isinstance(step, int) or step >= len(other)):
                    break
                other = other[step]
            parent[key] = copy.deepcopy(other)
        elif isinstance(parent[key], int | float) and not isinstance(parent[key], bool):
            parent[key] = rng.choice((-1, 0, 10**3, 10**6, 10**12)) * parent[key]
    return changed


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut, repeated, replaced by noise, or emptied."""
    action = rng.choice(("flip", "flip", "flip", "cut", "cut front", "repeat", "noise", "zeros", "empty"))
    if not content or action == "empty":
        return b"" if content else rng.randbytes(100)
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 8, 100, 5000)))
    if action == "flip":
        changed = bytearray(content)
        for _ in range(rng.choice((1, 1, 10, 100))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if action == "cut":
        return content[:start]
    if action == "cut front":
        return content[start:]
    if action == "repeat":
        return content[:end] + content[start:]
    return content[:start] + (bytes(end - start) if action == "zeros" else rng.randbytes(end - start)) + content[end:]
