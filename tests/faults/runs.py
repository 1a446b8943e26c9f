"""Kills, signals, full disks, removed locks and hostile checkpoints, on tiny runs in processes of their own."""

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gan_cli.commands.train import train as gan_train
from gan_cli.config.build import build_experiment, build_gan, build_imposed
from gan_cli.config.read import config_of, read_config
from gan_cli.engine import Engine
from gan_cli.errors import EndError, UserError
from gan_cli.experiment import Experiment
from gan_cli.files import atomic, sha256
from gan_cli.iteration import Step
from gan_cli.metrics.metrics import Subject
from gan_cli.metrics.mode_metrics import ModeScorer
from gan_cli.runs import pictures, state
from gan_cli.runs import run as runner
from gan_cli.runs.checkpoint import complete, find, named
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.signals import STOPPING
from gan_cli.runs.trained import trusted_config, within
from gan_cli.trainer import train

from ..conftest import TINY_MLP, composed_config
from ..outcome import assert_equal, outcome
from . import DataLostError, Fault, Injection
from .mutate import damaged, mutated

STEPS = 6
OVERRIDES = [
    *("dataset=grid3", "dataset.points_per_mode=8", "model=mlp", *TINY_MLP, f"steps={STEPS}", "log_every=1"),
    *("sample_every=3", "evaluate_every=2", "checkpoint_every=2", "device=cpu"),
]
WRITES = ("replace", "rename", "fsync", "unlink", "rmdir", "mkdir")  # of os: everything that changes a folder
CRASHED = 99


def start(folder: Path) -> None:
    """What gan-train run_dir=<folder> does, with bytes in place of drawings, which take most of a tiny run's time."""
    vars(pictures)["save_points"] = written
    vars(pictures)["save_curves"] = written
    overrides = [*OVERRIDES, f"run_dir={folder}"]
    config, options = read_config(composed_config(*overrides))
    gan_train(config, options, overrides, "", "test")


def written(path: Path, *drawn: Any) -> None:
    with atomic(path) as partial:
        partial.write_bytes(b"".join(value.numpy().tobytes() for value in drawn if isinstance(value, torch.Tensor)))


def in_child(work: Callable[[], object], said: Path) -> int:
    """Runs it in a copy of this process; returns the exit code, negative for a signal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking with threads
        child = os.fork()
    if child == 0:
        code = CRASHED
        try:
            output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for number in (1, 2):
                os.dup2(output, number)
            sys.stdout = sys.stderr = os.fdopen(output, "w")  # type: ignore[assignment]
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this process may have been started with nohup
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *where: print("warning:", message, flush=True)
            work()
            code = 0
        except EndError as end:
            print(end, flush=True)
            code = end.code
        except BaseException as error:
            import traceback

            traceback.print_exception(error)
            sys.stdout.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@cache
def undisturbed() -> Any:
    """The outcome of the run without any fault."""
    folder = Path(mkdtemp())
    try:
        code = in_child(lambda: start(folder / "run"), folder / "said")
        assert code == 0, (folder / "said").read_text()
        return outcome(folder / "run")
    finally:
        shutil.rmtree(folder)


def go_on(folder: Path, said: Path) -> None:
    """Continues the run, which has to end as if nothing had happened; raises DataLostError if not."""
    code = in_child(lambda: start(folder), said)
    if code != 0:
        raise DataLostError(f"exit code {code}: {said.read_text()[-500:]}")
    try:
        assert_equal(outcome(folder), undisturbed())
    except AssertionError as difference:
        raise DataLostError(f"the continued run differs: {difference}") from difference
    check_tidy(folder)


def check_tidy(folder: Path) -> None:
    """No partial files, and `best` and `latest` name what the records say."""
    left = [str(path) for path in folder.rglob("*.partial")]
    assert not left, f"left: {left}"
    checkpoints = folder / "checkpoints"
    best = json.loads((folder / "summary.json").read_text())["metrics"]["best_step"]
    kept = {path.name for path in complete(checkpoints)}
    assert {f"step-{STEPS:08d}", f"step-{best:08d}"} <= kept, f"kept: {kept}"
    assert len(kept - {f"step-{best:08d}"}) <= 2, f"kept: {kept}"  # the newest two: a stop adds one of its own
    assert named(checkpoints, "best") == checkpoints / f"step-{best:08d}", "best names another step"
    assert named(checkpoints, "latest") == checkpoints / f"step-{STEPS:08d}", "latest names another step"
    assert (folder / "curves.png").is_file(), "no curves"


def count_writes(number: int) -> list[str]:
    """For a child: kills it at its `number`-th change of a folder; returns the list of those so far."""
    seen: list[str] = []
    for name in WRITES:
        original = getattr(os, name)

        def counted(*args: Any, name: str = name, original: Callable[..., Any] = original, **kwargs: Any) -> Any:
            seen.append(name)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(os, name, counted)
    return seen


@cache
def number_of_writes() -> int:
    undisturbed()  # the first run of a user also makes files in the cache
    folder = Path(mkdtemp())

    def count() -> None:
        seen = count_writes(0)
        start(folder / "run")
        (folder / "count").write_text(str(len(seen)))

    try:
        assert in_child(count, folder / "said") == 0, (folder / "said").read_text()
        return int((folder / "count").read_text())
    finally:
        shutil.rmtree(folder)


def killed_at_a_write(folder: Path, rng: Injection) -> None:
    """Every change of a folder in turn."""
    at = 1 + (7 * rng.number) % number_of_writes()  # 7 spreads a few injections over the run

    def work() -> None:
        count_writes(at)
        start(folder / "run")

    assert in_child(work, folder / "said") == -signal.SIGKILL
    go_on(folder / "run", folder / "said")


def killed_at_any_time(folder: Path, rng: Injection) -> None:
    """After a random time, by a timer of the operating system."""

    def work() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.005, 0.6))
        start(folder / "run")

    in_child(work, folder / "said")
    go_on(folder / "run", folder / "said")


def killed_while_writing_the_state(folder: Path, rng: Injection) -> None:
    """With a part of the file on disk."""
    save, at = save_file, rng.randrange(4)
    calls: list[int] = []

    def cut(tensors: Any, path: Path, metadata: Any) -> None:
        save(tensors, path, metadata=metadata)
        calls.append(1)
        if len(calls) > at:
            os.truncate(path, rng.randrange(path.stat().st_size))
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        vars(state)["save_file"] = cut
        start(folder / "run")

    assert in_child(work, folder / "said") == -signal.SIGKILL
    go_on(folder / "run", folder / "said")


def stopped_by_a_signal(folder: Path, rng: Injection) -> None:
    """Every signal that asks to stop, at a random step or while scoring: saved, and 128 + n."""
    number, at, scoring = STOPPING[rng.number % len(STOPPING)], rng.randrange(1, STEPS + 1), rng.random() < 0.4

    def stopping(experiment: Experiment, first_step: int) -> Iterator[Step]:
        for done in train(experiment, first_step):
            if done.number == at:
                os.kill(os.getpid(), number)
            yield done

    score = ModeScorer.score

    def interrupted(self: ModeScorer, subject: Subject) -> dict[str, float]:
        os.kill(os.getpid(), number)
        return score(self, subject)

    def work() -> None:
        if scoring:
            ModeScorer.score = interrupted  # type: ignore[method-assign]
        else:
            vars(runner)["train"] = stopping
        start(folder / "run")

    code = in_child(work, folder / "said")
    assert code == 128 + number, f"{number.name}: {code}, {(folder / 'said').read_text()[-500:]}"
    assert json.loads((folder / "run" / "summary.json").read_text())["status"] == "interrupted"
    if not scoring and find(folder / "run", "latest").step != at:
        raise DataLostError(f"{number.name} at step {at}, saved at step {find(folder / 'run', 'latest').step}")
    go_on(folder / "run", folder / "said")


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A file system of its own, if this process may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(folder: Path, rng: Injection) -> None:
    """A full file system where one can be mounted, else a limit of a file's size: one line, the old state is safe."""
    with small_disk(folder / "disk", kilobytes=rng.randrange(100, 500)) as mounted:
        run = folder / "disk" / "run"

        def work() -> None:
            if not mounted:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                most = rng.randrange(3_000, 20_000)
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            start(run)

        code, text = in_child(work, folder / "said"), (folder / "said").read_text()
        assert code in (0, 1, 2), f"exit code {code}: {text[-800:]}"
        assert "Traceback" not in text, text[-800:]
        if code == 1:
            assert "cannot be written" in text, text[-500:]
            assert "MB" in text, text[-500:]
        saved = complete(run / "checkpoints") if run.exists() else []
        if saved:
            find(run, "latest")  # undamaged
            shutil.copytree(run, folder / "run")
    if saved:
        go_on(folder / "run", folder / "said")


def full_records(folder: Path, rng: Injection) -> None:
    """metrics.jsonl cannot grow: one line, and the run goes on from the last checkpoint when it can."""
    limit = rng.randrange(1, 2 * STEPS)
    recorded = RunFolder.recorded
    calls: list[int] = []

    def full(self: RunFolder, record: Any) -> None:
        calls.append(1)
        if len(calls) > limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.metrics))
        recorded(self, record)

    def work() -> None:
        RunFolder.recorded = full  # type: ignore[method-assign]
        start(folder / "run")

    code, text = in_child(work, folder / "said"), (folder / "said").read_text()
    if code != 0:
        assert code == 1, text[-500:]
        assert "metrics.jsonl cannot be written: No space left on device" in text, text[-500:]
        assert json.loads((folder / "run" / "summary.json").read_text())["status"] == "failed"
    go_on(folder / "run", folder / "said")


def damaged_records(folder: Path, rng: Injection) -> None:
    """metrics.jsonl changed behind a stopped run: said, kept, and training goes on to the same weights."""
    stop_at(folder / "run", folder / "said", 4)
    metrics = folder / "run" / "metrics.jsonl"
    before = metrics.read_bytes()
    metrics.write_bytes(damaged(before, rng))
    changed = metrics.read_bytes()
    code = in_child(lambda: start(folder / "run"), folder / "said")
    assert code == 0, (folder / "said").read_text()[-500:]
    assert_equal(outcome(folder / "run")[0], undisturbed()[0])
    if changed != before and not changed.startswith(before):
        kept = [path.read_bytes() for path in (folder / "run").glob("metrics.damaged-*.jsonl")]
        if (
            kept != ([changed] if changed else [])
            or "is not what the checkpoint's run" not in (folder / "said").read_text()
        ):
            raise DataLostError("damage was not said, or the damaged file was not kept")


def stop_at(run: Path, said: Path, step: int) -> None:
    def stopping(experiment: Experiment, first_step: int) -> Iterator[Step]:
        for done in train(experiment, first_step):
            yield done
            if done.number == step:
                os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        vars(runner)["train"] = stopping
        start(run)

    assert in_child(work, said) == -signal.SIGKILL


@cache
def trained_run() -> Path:
    """A finished run; its callers copy it."""
    folder = Path(mkdtemp())
    assert in_child(lambda: start(folder / "run"), folder / "said") == 0
    return folder / "run"


@cache
def tiny_experiment() -> Experiment:
    return build_experiment(config_of(OVERRIDES[:-1]), Engine())


def copied_checkpoint(folder: Path) -> Path:
    checkpoint = folder / f"step-{STEPS:08d}"
    shutil.copytree(trained_run() / "checkpoints" / checkpoint.name, checkpoint)
    return checkpoint


def signed_again(checkpoint: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> None:
    """Writes meta.json as an attacker would, with matching hashes."""
    meta = json.loads((checkpoint / "meta.json").read_text())
    file = checkpoint / "state.safetensors"
    meta["state"] = {"sha256": sha256(file), "bytes": file.stat().st_size}
    if change is not None:
        meta = change(meta)
    (checkpoint / "meta.json").write_text(json.dumps(meta))


def refused_or_read(action: Callable[[], object]) -> bool:
    """Whether it was refused, in one line that is safe to print."""
    try:
        action()
    except UserError as error:
        text = str(error)
        assert not {"\n", "\x1b"} & set(text), text
        return True
    return False


def damaged_checkpoint(folder: Path, rng: Injection) -> None:
    """Bytes of the tensors changed: found by their hash, whatever they are."""
    checkpoint = copied_checkpoint(folder)
    file = checkpoint / "state.safetensors"
    before = file.read_bytes()
    file.write_bytes(damaged(before, rng))
    if not refused_or_read(lambda: find(checkpoint, "latest")) and file.read_bytes() != before:
        raise DataLostError("a damaged checkpoint was believed")


def hostile_tensors(folder: Path, rng: Injection) -> None:
    """Bytes of the tensors changed, with a matching hash: refused, or values in our own tensors."""
    checkpoint = copied_checkpoint(folder)
    file = checkpoint / "state.safetensors"
    header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    content = file.read_bytes()
    file.write_bytes(damaged(content[:header], rng) + content[header:] if rng.random() < 0.8 else damaged(content, rng))
    signed_again(checkpoint)
    restore(checkpoint)


def hostile_shapes(folder: Path, rng: Injection) -> None:
    """A well-formed file with another tensor in place of one: refused."""
    checkpoint = copied_checkpoint(folder)
    file = checkpoint / "state.safetensors"
    tensors = load_file(file)
    name = rng.choice(sorted(tensors))
    value = tensors[name]
    other = rng.choice(
        (value[None], value.double(), value.to(torch.int64) if value.is_floating_point() else value.float())
        + ((value[:0].clone(), value[:1][..., :1].clone()) if value.dim() else (torch.zeros(5), torch.zeros(0)))
    )
    same = other.shape == value.shape and other.dtype == value.dtype
    save_file(tensors | {name: other.contiguous()}, file, metadata={"numbers": "{}"})
    signed_again(checkpoint)
    assert restore(checkpoint) != same, f"{name} was taken as {other.dtype}{list(other.shape)}"


def restore(checkpoint: Path) -> bool:
    """Whether it was refused; every part then has the state it had, and always its own shapes."""
    experiment = tiny_experiment()
    optimizer = experiment.players[0].optimizer
    if refused_or_read(lambda: find(checkpoint, "latest").restore(experiment.parts())):
        return True
    for parameter, held in optimizer.state.items():
        for name, value in held.items():
            if name != "step":
                assert (value.stride(), value.shape) == (parameter.stride(), parameter.shape), name
                assert value.untyped_storage().nbytes() == parameter.untyped_storage().nbytes(), name
    return False


def hostile_meta(folder: Path, rng: Injection) -> None:
    """meta.json changed in its structure or its bytes: refused, or a config that this program could have written."""
    checkpoint = copied_checkpoint(folder)
    meta = checkpoint / "meta.json"
    if rng.random() < 0.2:
        meta.write_bytes(damaged(meta.read_bytes(), rng))
    else:
        changed = mutated(json.loads(meta.read_text()), rng)
        meta.write_text(json.dumps(changed))
    canary = folder / "canary"

    def use() -> None:
        found = find(checkpoint, "latest")
        config = trusted_config(found, [], rng.choice((None, str(folder))))
        with within(found):
            build_gan(config, found.image_shape, found.class_counts, Engine(), build_imposed(config, Engine()))

    refused_or_read(use)
    assert not canary.exists()


def two_writers(folder: Path, rng: Injection) -> None:
    """The lock file removed under a writer at a random step: it writes nothing more."""
    at = rng.randrange(1, STEPS)
    run = folder / "run"

    def removing(experiment: Experiment, first_step: int) -> Iterator[Step]:
        for done in train(experiment, first_step):
            if done.number == at:
                (run / ".lock").unlink()
                if rng.random() < 0.5:
                    (run / ".lock").touch()
            yield done

    def work() -> None:
        vars(runner)["train"] = removing
        start(run)

    code, text = in_child(work, folder / "said"), (folder / "said").read_text()
    assert code == 1, text[-500:]
    assert ".lock was removed while the run was writing" in text
    assert [record["step"] for record in RunFolder(run).records() if "losses" in record] == list(range(1, at))
    go_on(run, folder / "said")


CASES = [
    Fault("killed at each change of a folder", killed_at_a_write, times=200, quick=2),
    Fault("killed at a random time", killed_at_any_time, times=200, quick=1),
    Fault("killed while a checkpoint is written", killed_while_writing_the_state, times=20, quick=1),
    Fault("stopped by each signal", stopped_by_a_signal, times=60, quick=3),
    Fault("disk full", full_disk, times=8, quick=1),
    Fault("no room for records", full_records, times=20, quick=1),
    Fault("records damaged behind the run", damaged_records, times=100, quick=1),
    Fault("lock file removed under a writer", two_writers, times=20, quick=1),
    Fault("checkpoint damaged", damaged_checkpoint, times=5_000, quick=20),
    Fault("checkpoint with hostile bytes", hostile_tensors, times=20_000, quick=50),
    Fault("checkpoint with tensors of other shapes", hostile_shapes, times=2_000, quick=20),
    Fault("checkpoint with hostile meta.json", hostile_meta, times=20_000, quick=50),
]
