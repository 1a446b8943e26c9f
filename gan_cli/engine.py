"""Where tensors live."""

import torch

from gan_cli.errors import UserError


def choose_device(name: str) -> torch.device:
    """`auto` is a GPU if there is one; raises UserError for a device that this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} is not available on this machine: use device=cpu or device=auto") from error
    return device


def peak_memory(device: torch.device) -> int:
    """Bytes: the most the device has allocated, or the most this process has occupied on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
