"""What an error of a run means to its user: memory that is missing, a disk that is full."""

import errno
import shutil

import torch

from gan_cli.errors import EndError, OutOfMemoryError, RankError, one_line
from gan_cli.experiment import Experiment
from gan_cli.runs import checkpoint
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.state import num_bytes

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explained(failure: Exception, step: int, experiment: Experiment, folder: RunFolder) -> Exception:
    """The error with what the user can do about it, where that is known; `step` is the one it ended."""
    if is_out_of_memory(failure):
        return out_of_memory(step, experiment)
    if isinstance(failure, RankError):
        return RankError(f"{failure}; continue with as many processes or others: gan-train resume={folder.path}")
    if isinstance(failure, OSError):
        return not_written(failure, step, experiment, folder)
    return failure


def is_out_of_memory(failure: Exception) -> bool:
    """Whether a device, or the machine, had no memory left; torch's error for a CPU has no class of its own."""
    return isinstance(failure, MemoryError | torch.OutOfMemoryError) or (
        isinstance(failure, RuntimeError) and "DefaultCPUAllocator" in str(failure)
    )


def out_of_memory(step: int, experiment: Experiment) -> EndError:
    """Names the batch sizes to try."""
    sizes = {name: getattr(experiment.settings, name) for name in ("batch_size", "generator_batch_size")}
    smaller = " or ".join(f"{name}={size // 2}" for name, size in sizes.items() if size is not None and size > 3)
    advice = f"try {smaller}, or a smaller model" if smaller else "try a smaller model"
    return OutOfMemoryError(f"out of memory at step {step} with batch_size={sizes['batch_size']}: {advice}")


def not_written(failure: OSError, step: int, experiment: Experiment, folder: RunFolder) -> EndError:
    """Names the path, the megabytes that are needed and free, and the step up to which the run is safe."""
    saved = [checkpoint.step_of(one) for one in checkpoint.complete(folder.checkpoints)]
    safe = f"the run is safe up to step {saved[-1]}" if saved else "nothing of the run is saved"
    free = ""
    if failure.errno in FULL:
        free = f"; {shutil.disk_usage(folder.path).free / 1e6:,.0f} MB are free"
    return EndError(
        f"at step {step}, {failure.filename or folder.path} cannot be written: "
        f"{failure.strerror or one_line(failure)}{free}, and a checkpoint needs "
        f"{num_bytes(experiment.parts()) / 1e6:,.0f} MB; {safe}: "
        f"free some space, then continue with: gan-train resume={folder.path}"
    )
