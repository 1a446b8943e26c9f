"""Time and memory of gan-report on sweeps of 1,000 and 10,000 runs: OMP_NUM_THREADS=1 python benchmarks/reports.py

python benchmarks/reports.py [folder] [<runs>x<seeds> ...]   One tiny run is trained; every other run is a copy of it
with settings, a seed and scores of its own, 400 records of losses and 10 evaluations. A sweep that is in the folder is
not made again. The study's claim reads all records of all runs. Each report is a process of its own: without the cache,
with it, and after one run has changed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_cli.sweep.sweep_folder import SweepFolder, fingerprint

SWEEPS = ("1000x8", "1000x1", "10000x8")  # runs, and how many seeds each method has
RATES = 50  # of one player
LOST = 0.03  # of the runs
OVERRIDES = (
    *("objective=hinge", "model=mlp", "batch_size=16", "steps=400", "log_every=1", "evaluate_every=40"),
    *("sample_every=200", "checkpoint_every=400", "num_eval_images=256"),
)
CLAIM = {
    "says": "The larger learning rate gives the lower FID",
    "source": "none",
    "rules": [
        {
            "rule": "correlation",
            "says": "FID along a run, with the discriminator's loss",
            "reading": "leading",
            "along": "discriminator",
            "expected": "higher",
        }
    ],
}
MEGABYTE = 2**20


def train(folder: Path) -> None:
    if not (folder / "summary.json").is_file():
        words = [sys.executable, "-m", "gan_cli", "train", f"run_dir={folder}", *OVERRIDES]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def make_sweep(folder: Path, run: Path, num_runs: int, num_seeds: int) -> None:
    """A finished sweep over the learning rates of both players, with so many runs of each pair."""
    summary = json.loads((run / "summary.json").read_bytes())
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    random = np.random.default_rng(0)
    jobs: dict[str, Any] = {}
    (folder / "logs").mkdir(parents=True)
    for number in range(num_runs):
        method, seed = divmod(number, num_seeds)
        rates = {"generator": 1e-4 * (1 + method % RATES), "discriminator": 1e-4 * (1 + method // RATES)}
        rates = {player: float(f"{rate:.4g}") for player, rate in rates.items()}
        config = json.loads(json.dumps(summary["config"])) | {"seed": seed}
        for player, rate in rates.items():
            config[f"{player}_optimizer"]["lr"] = rate
        point = [*OVERRIDES, *(f"{player}_optimizer.lr={rate}" for player, rate in rates.items()), f"seed={seed}"]
        name = f"{number:05d}-{fingerprint(config)}"
        factor = float((1 + 0.02 * (method % 97)) * np.exp(0.05 * random.standard_normal()))
        jobs[name] = {"overrides": point, "config": config, "exit_code": 0}
        lost = bool(random.random() < LOST)
        copy_run(run, folder / name, summary | {"config": config, "overrides": point}, records, factor, lost=lost)
        write_json_plainly(folder / "logs" / f"{name}.json", {"exit_code": int(lost), "error": ""})
    SweepFolder(folder).write({"command": ["gan-sweep"], "study": "none", "claim": CLAIM, "jobs": jobs})


def copy_run(
    run: Path, copy: Path, summary: dict[str, Any], records: list[dict[str, Any]], factor: float, *, lost: bool
) -> None:
    """The run with all of its scores times `factor`; its pictures are links, as they would fill the disk."""
    shutil.copytree(run / "samples", copy / "samples", copy_function=os.link)
    shutil.copytree(run / ".hydra", copy / ".hydra")
    (copy / "checkpoints").mkdir()
    metrics = dict(summary["metrics"])
    for key in ("last", "best"):
        metrics[key] = {name: score * factor for name, score in metrics[key].items()}
    status = {"status": "collapsed", "error": "the images are all alike"} if lost else {}
    write_json_plainly(copy / "summary.json", summary | {"metrics": metrics} | status)
    with (copy / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for record in records:
            scores = {name: score * factor for name, score in record.get("metrics", {}).items()}
            file.write(json.dumps(record | ({"metrics": scores} if scores else {})) + "\n")


def write_json_plainly(path: Path, content: Any) -> None:
    """Without waiting for the disk."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def report(sweep: Path, out: Path, cache: Path) -> tuple[float, float, float]:
    """Seconds, of the wall and of the processor, and the peak memory in MiB."""
    words = [sys.executable, "-m", "gan_cli", "report", str(sweep), f"out={out}"]
    started = time.perf_counter()
    process = subprocess.Popen(words, env=os.environ | {"GAN_CLI_CACHE": str(cache)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(words)} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def row(sweep: Path, out: Path, what: str, cache: Path) -> str:
    seconds, of_processor, memory = report(sweep, out, cache)
    page = (out / "report.html").stat().st_size / MEGABYTE
    return f"| {sweep.name} | {what} | {seconds:.1f} | {of_processor:.1f} | {memory:,.0f} | {page:.1f} |"


def main(folder: Path, sweeps: Sequence[str]) -> None:
    train(folder / "run")
    print("| runs x seeds | | seconds | of processor | peak memory, MiB | page, MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name in sweeps:
        sweep, out = folder / name, folder / "reports" / name
        if not (sweep / "sweep.json").is_file():
            num_runs, num_seeds = map(int, name.split("x"))
            make_sweep(sweep, folder / "run", num_runs, num_seeds)
        with tempfile.TemporaryDirectory() as cache:
            print(row(sweep, out, "first", Path(cache)), flush=True)
            print(row(sweep, out, "again", Path(cache)), flush=True)
            next(sweep.glob("*/summary.json")).touch()
            print(row(sweep, out, "one run changed", Path(cache)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/reports"), sys.argv[2:] or SWEEPS)
