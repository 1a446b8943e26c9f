"""The console scripts: they parse the command line, and import torch only if it is valid."""

import atexit
import gc
import io
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_cli import __version__, launched
from gan_cli.config.arguments import read_arguments
from gan_cli.config.compose import CONF
from gan_cli.config.help import help_text
from gan_cli.config.hints import closest, completions, config_folders, explain
from gan_cli.errors import EndError, InterruptedRunError, UserError
from gan_cli.runs.signals import end_with
from gan_cli.sweep.command_line import Prepared, prepare
from gan_cli.sweep.options import NOT_OF_A_SWEEP
from gan_cli.sweep.sweep_folder import SweepFolder
from gan_cli.text import printable
from gan_cli.work import abandoned_calls

REFUSED_BY_HYDRA = 1
TOGETHER = ("train", "eval")  # the commands that several processes do together
MOST_SAID = 10_000  # characters of one error: it may name many problems


def train() -> None:
    launch("train")


def evaluate() -> None:
    launch("eval")


def sample() -> None:
    launch("sample")


def export() -> None:
    launch("export")


def sweep() -> None:
    launch("sweep")


def report() -> None:
    launch("report")


def verify() -> None:
    launch("verify")


def main() -> None:
    """python -m gan_cli: runs one of the commands, or lists them."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        headers = {command: OmegaConf.load(CONF / f"{command}.yaml").hydra.help.header for command in COMMANDS}
        lines = [header.partition("\n")[0].partition(": ") for header in headers.values()]
        print("python -m gan_cli train <arguments> is the same as gan-train <arguments>:\n")
        print("\n".join(f"  {program:12}{what}" for program, _, what in lines))
        print("\ngan-train --help lists what it takes, and so for each of them.")
    elif name == "--version":
        print(f"gan_cli {__version__}")
    elif name.removeprefix("gan-") in COMMANDS:
        sys.argv = [f"gan-{name.removeprefix('gan-')}", *words]
        launch(name.removeprefix("gan-"))
    else:
        exit_with("gan_cli", f"unknown command '{name}'{closest(name, list(COMMANDS))}", UserError.code)


@contextmanager
def exiting_at_once() -> Iterator[None]:
    """Ends the process while abandoned calls still run; the interpreter would wait for them."""
    try:
        yield
    except SystemExit as end:
        if abandoned_calls():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else REFUSED_BY_HYDRA)
        raise


@exiting_at_once()
def launch(name: str) -> None:
    """Composes the config from the command line and runs the command; errors that the user can fix are one line."""
    program = f"gan-{name}"
    set_up(program)
    if name not in TOGETHER and launched.num_processes() > 1:
        exit_with(program, f"{program} is of one process: start it without torchrun", UserError.code)
    job = Job(name, sys.argv[1:])
    try:
        arguments = read_arguments(name, sys.argv[1:])
        if "--version" in arguments.flags:
            print(f"{program} {__version__}")
            return
        if "--help" in arguments.flags:
            print(help_text(name, arguments.overrides, NOT_OF_A_SWEEP if name == "sweep" else ()))
            return
        if "--shell-completion" in arguments.flags and (line := os.environ.get("COMP_LINE")):
            found = completions(name, line)
            print(*found, sep="\n", end="\n" * bool(found))
            if found and not found[0].endswith("="):  # Hydra would add keys of what is chosen
                return
        if "--info" in arguments.flags:  # Hydra logs what others print
            logging.getLogger("hydra").setLevel(logging.NOTSET)
        sys.argv[1:] = arguments.words
        find_own_code()
        with CONTEXTS.get(name, nullcontext)():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        exit_with(program, explain(error, name), REFUSED_BY_HYDRA)
    except EndError as end:
        exit_with(program, str(end), end.code, of_all=end.of_all)
    except BrokenPipeError:  # the reader of stdout has closed it, as with | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if job.running:
            raise
        exit_with(program, explain(error, name), REFUSED_BY_HYDRA)
    except KeyboardInterrupt:
        exit_with(program, "interrupted", 128 + signal.SIGINT)


def find_own_code() -> None:
    """Makes the user's own code importable, behind everything that is installed.

    It lies beside the folder of --config-dir, or, for a package that trust= names, in the current folder.
    """
    beside = [folder.parent for folder in config_folders()[1:]]
    here = [Path.cwd()] if any(word.startswith("trust=") for word in sys.argv[1:]) else []
    sys.path += [str(folder) for folder in beside + here if str(folder) not in sys.path]


def choose_waiting() -> None:
    """Lets OpenMP's threads sleep where they wait for long; torch reads the variables when it is imported.

    A thread that spins takes the processor from the one that it waits for if other programs run, too. One that sleeps
    soon wakes up late, and small operations have many waits. So threads spin ten times as long before they sleep if no
    other program computes at the start.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000" if is_alone() else "1000"}


def is_alone() -> bool:
    """Tells whether this is the only thread that computes on this machine, by most of five looks (Linux only)."""
    looks = []
    try:
        for _ in range(5):
            running, _all = Path("/proc/loadavg").read_text().split()[3].split("/")
            looks.append(int(running) <= 1)
            time.sleep(0.002)
    except OSError:
        return False
    return sum(looks) >= 3


def set_up(program: str) -> None:
    """Prints errors and warnings in our own format, on terminals of any encoding."""
    choose_waiting()
    atexit.register(gc.freeze)  # the last collection would look at all that torch has made, for more than a second
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions reach us, instead of Hydra's own printing
    logging.getLogger("hydra").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot print ± must not cause an error
    sys.stderr = Unheard(sys.stderr)
    warnings.showwarning = lambda message, *where: say(program, f"warning: {message}")


class Unheard(io.TextIOBase):
    """A stream whose reader may go, as `2>&1 | head` or a terminal does: nothing is raised, and the rest is lost."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.attempt(lambda: self.stream.write(text)) or len(text)

    def flush(self) -> None:
        self.attempt(self.stream.flush)

    def attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (OSError, ValueError):  # broken, full, or closed
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            return None

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    @property
    def buffer(self) -> Any:
        return self.stream.buffer


class Job:
    """The function that Hydra calls with a composed config, once or several times; `running` after the first call.

    `command` is the command line as it was typed.
    """

    def __init__(self, name: str, words: list[str]) -> None:
        self.name = name
        self.command = [f"gan-{name}", *words]
        self.running = False

    def __call__(self, composed: DictConfig) -> Any:
        self.running = True
        state = HydraConfig.get()
        try:
            typed: Any = OmegaConf.to_container(state.overrides.task, resolve=False)  # a value may be a secret
            return COMMANDS[self.name](composed, list(map(str, typed)), dict(state.runtime.choices))
        except EndError as end:
            # In a multirun the other jobs still run, unless the user wants to stop.
            if state.mode == RunMode.MULTIRUN and not isinstance(end, InterruptedRunError):
                raise
            exit_with(f"gan-{self.name}", str(end), end.code, of_all=end.of_all)
        return None


Choices = dict[str, str | None]


def run_train(composed: DictConfig, overrides: list[str], choices: Choices) -> None:
    from gan_cli.commands.train import resume, train
    from gan_cli.config.read import read_config, read_resuming

    if composed.resume is not None:
        resume(read_resuming(composed, overrides))
        return
    config, options = read_config(composed)
    if options["estimate"]:
        if launched.num_processes() > 1:
            raise UserError("estimate is of one process: start it without torchrun")
        from gan_cli.commands.estimate import estimate

        estimate(config, options)
        return
    train(config, options, overrides, OmegaConf.to_yaml(composed), f"{choices['objective']}-{choices['dataset']}")


def run_evaluate(composed: DictConfig, overrides: list[str], choices: Choices) -> None:
    from gan_cli.commands.evaluate import evaluate
    from gan_cli.config.read import read_evaluation

    evaluate(read_evaluation(composed, overrides, choices.get("latent_sampler")))


def run_sample(composed: DictConfig, overrides: list[str], choices: Choices) -> None:
    from gan_cli.commands.sample import sample
    from gan_cli.config.read import SAMPLING, read_options

    sample(read_options(composed, SAMPLING, overrides, choices.get("latent_sampler")))


def run_export(composed: DictConfig, overrides: list[str], choices: Choices) -> None:
    from gan_cli.commands.export import export
    from gan_cli.config.plain import EXPORTING, read_plain

    export(read_plain(composed, EXPORTING, "which run? give its folder: checkpoint=outputs/<run>"))


def run_sweep(composed: DictConfig, overrides: list[str], choices: Choices) -> float | None:
    from gan_cli.sweep.sweep import run_job

    return run_job(composed, overrides)


def run_report(composed: DictConfig, overrides: list[str], choices: Choices) -> None:
    from gan_cli.config.plain import REPORTING, read_plain
    from gan_cli.leaderboard.report import report

    report(read_plain(composed, REPORTING, "which runs? give folders: gan-report outputs/sweeps/<sweep>"))


def run_verify(composed: DictConfig, overrides: list[str], choices: Choices) -> None:
    from gan_cli.config.plain import VERIFYING, read_plain
    from gan_cli.leaderboard.verify import verify

    verify(read_plain(composed, VERIFYING, "which run or sweep? give its folder: gan-verify outputs/<run>"))


COMMANDS: dict[str, Callable[[DictConfig, list[str], Choices], Any]] = {
    "train": run_train,
    "eval": run_evaluate,
    "sample": run_sample,
    "export": run_export,
    "sweep": run_sweep,
    "report": run_report,
    "verify": run_verify,
}


@contextmanager
def place_of_data() -> Iterator[None]:
    """Lets a run be resumed with `dataset.root=`: its data set is the checkpoint's, not the one that is composed."""
    if any(word.startswith("resume=") for word in sys.argv[1:]):
        places = ("dataset.root=", "dataset.download=")
        sys.argv[1:] = [f"++{word}" if word.startswith(places) else word for word in sys.argv[1:]]
    yield


@contextmanager
def writing_tables() -> Iterator[None]:
    """Writes the sweep's tables when it has ended, in any way."""
    sweep = prepare()
    try:
        yield
    except (UserError, HydraException, OmegaConfBaseException):
        raise  # nothing has been run
    except BaseException:
        write_tables(sweep)
        raise
    write_tables(sweep)


def write_tables(sweep: Prepared | None) -> None:
    """Writes the tables, without a baseline if it is wrong: a sweep may have run for days."""
    from gan_cli.leaderboard.report import write_report

    if sweep is None or sweep.dry_run or not (sweep.folder / "sweep.json").is_file():
        return
    with SweepFolder(sweep.folder).writing():
        try:
            write_report([sweep.folder], sweep.folder, sweep.baseline, sweep.trust)
        except UserError as error:
            warnings.warn(str(error), stacklevel=1)
            write_report([sweep.folder], sweep.folder, None, sweep.trust)


CONTEXTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "train": place_of_data,
    "sweep": writing_tables,
}


def say(program: str, message: str, *, of_all: bool = True) -> None:
    """On stderr; of the processes that train one run only the first speaks, unless a message is not of all."""
    if launched.rank() == 0 or not of_all:
        process = f"[process {launched.rank()}]" if launched.rank() else ""
        print(f"{program}{process}: {printable(message, MOST_SAID)}", file=sys.stderr)


def exit_with(program: str, message: str, code: int, *, of_all: bool = True) -> None:
    say(program, message, of_all=of_all)
    sys.exit(code)


if __name__ == "__main__":  # a job of gan-sweep: python -m gan_cli.cli <process id of the sweep> <overrides>
    end_with(int(sys.argv.pop(1)))
    train()
