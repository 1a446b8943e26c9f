"""torchvision, which torch-fidelity imports, too: it loads only beside the torch that it was built for."""

from collections.abc import Iterator
from contextlib import contextmanager

from gan_cli.errors import UserError, one_line


@contextmanager
def torchvision_needed() -> Iterator[None]:
    """Around an import of torchvision: raises UserError, which says how to repair it, if it cannot be loaded."""
    try:
        yield
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise UserError(
            f"torchvision cannot be loaded ({one_line(error)}): install torch and torchvision from the same index, "
            "as with pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu"
        ) from error
