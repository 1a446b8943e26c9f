"""Imports in gan_cli point one way: python -m tests.layers prints the same."""

from pathlib import Path

import pytest

from . import layers


@pytest.mark.parametrize(("rule", "found"), layers.violations(layers.imports()).items())
def test_imports_point_one_way(rule: str, found: list[str]) -> None:
    assert not found, "\n".join([f"{rule}:", *found])


def test_every_form_of_an_import_is_found(tmp_path: Path) -> None:
    sources = {
        "__init__.py": '__version__ = "1"',
        "errors.py": "def late():\n    from .runs import folder",
        "files.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gan_cli.trainer",
        "shapes.py": "import torch\nfrom gan_cli import __version__, data",
        "data.py": "import gan_cli.shapes as shapes",
        "trainer.py": "from hydra.utils import get_class\nfrom gan_cli.files import write",
        "runs/__init__.py": "from .folder import RunFolder",
        "runs/folder.py": "from .. import errors",
        "config/__init__.py": "import omegaconf",
        "stray.py": "",
    }
    for name, source in sources.items():
        path = tmp_path / "gan_cli" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    arrows = layers.imports(tmp_path / "gan_cli")
    assert layers.violations(arrows) == {
        "modules in no layer": ["gan_cli.stray"],
        "arrows that run up": ["gan_cli.errors -> gan_cli.runs.folder", "gan_cli.files -> gan_cli.trainer"],
        "circles between modules": [
            "gan_cli.data <-> gan_cli.shapes",
            "gan_cli.errors <-> gan_cli.runs.folder",
            "gan_cli.files <-> gan_cli.trainer",
        ],
        "circles between layers": ["core <-> ground <-> runs"],
        "Hydra outside config, sweep and cli": ["gan_cli.trainer -> hydra.utils.get_class"],
    }
