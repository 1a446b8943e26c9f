"""The console scripts: parse, then hand over; torch is imported only once the command line is known to be right."""

import atexit
import gc
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gan_cli import __version__
from gan_cli.config.hints import CONF, explain
from gan_cli.config.overrides import quoted
from gan_cli.errors import EndError, InterruptedRunError
from gan_cli.sweep.command_line import prepared
from gan_cli.work import abandoned_calls

REFUSED_BY_HYDRA = 1


def train() -> None:
    launch("train")


def evaluate() -> None:
    launch("eval")


def sample() -> None:
    launch("sample")


def sweep() -> None:
    launch("sweep")


def report() -> None:
    launch("report")


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Ends the process where abandoned calls still run, which the interpreter would wait for."""
    try:
        yield
    except SystemExit as end:
        if abandoned_calls():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else REFUSED_BY_HYDRA)
        raise


@leaving_at_once()
def launch(name: str) -> None:
    """Composes the config from the command line and runs the command; whatever the user can mend is one line."""
    program = f"gan-{name}"
    if "--version" in sys.argv[1:]:
        print(f"{program} {__version__}")
        return
    atexit.register(gc.freeze)  # the last collection would look at all that torch has made, for more than a second
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us, instead of Hydra's own printing
    logging.getLogger("hydra").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ± is no reason to fail
    running = False
    warnings.showwarning = lambda message, *where: print(f"{program}: warning: {message}", file=sys.stderr)

    def job(composed: DictConfig) -> Any:
        nonlocal running
        running = True
        try:
            return command_of(name)(composed)
        except EndError as end:
            # Of several jobs the others still run, unless the user wants to stop.
            if HydraConfig.get().mode == RunMode.MULTIRUN and not isinstance(end, InterruptedRunError):
                raise
            leave(program, str(end), end.code)
        return None

    try:
        with AROUND.get(name, nullcontext)():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        leave(program, explain(error, name), REFUSED_BY_HYDRA)
    except EndError as end:
        leave(program, str(end), end.code)
    except BrokenPipeError:  # the reader of stdout has gone, as with | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if running:
            raise
        leave(program, explain(error, name), REFUSED_BY_HYDRA)
    except KeyboardInterrupt:
        leave(program, "interrupted", 128 + signal.SIGINT)


def command_of(name: str) -> Callable[[DictConfig], Any]:
    if name == "train":
        from gan_cli.commands import train

        return train.train
    if name in ("eval", "sample"):
        from gan_cli.commands import evaluate

        return evaluate.evaluate if name == "eval" else evaluate.sample
    if name == "sweep":
        from gan_cli.sweep import sweep

        return sweep.run_job
    from gan_cli.leaderboard import report

    return report.report


@contextmanager
def folders_named() -> Iterator[None]:
    """gan-report takes its folders as bare words, too."""
    words = [word for word in sys.argv[1:] if not word.startswith("-") and ("=" not in word or Path(word).is_dir())]
    if words:
        kept = [word for word in sys.argv[1:] if word not in words]
        sys.argv[1:] = [*kept, f"folders=[{','.join(map(quoted, words))}]"]
    yield


AROUND: dict[str, Callable[[], AbstractContextManager[None]]] = {"sweep": prepared, "report": folders_named}


def leave(program: str, message: str, code: int) -> None:
    print(f"{program}: {message}", file=sys.stderr)
    sys.exit(code)
