"""Modes and quality of every objective on ring and grid, sampled from the prior and with AdvLatGAN-z, as a table.

python benchmarks/toys.py [folder]   Runs that are finished in the folder are not trained again.
"""

import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

OBJECTIVES = {  # with the settings each needs: a critic needs more updates than its generator
    "stdgan": [],
    "lsgan": [],
    "hinge": [],
    "wgan": ["regularizer.weight_clipping.limit=0.1", "discriminator_steps=5"],
    "wgan_gp": ["discriminator_steps=5"],
    "relativistic": [],
    "fgan": [],
    "realness": [],
}
EXPERIMENTS = ("toy_ring", "toy_grid")
SEARCH = ("latent_sampler=advlat_z", *(f"latent_sampler.{key}" for key in ("steps=20", "step_size=0.05", "radius=1.0")))
SEEDS = (0, 1, 2)
ONE_CORE = os.environ | {"OMP_NUM_THREADS": "1"}  # two runs at a time, a core each
Scores = dict[str, float]


def run(folder: Path, experiment: str, objective: str, seed: int) -> dict[str, Scores]:
    """Trains once, then scores the plain sampler and -z on the same prior draws."""
    run_dir = folder / f"{experiment}-{objective}-{seed}"
    settings = [f"experiment={experiment}", f"objective={objective}", *OBJECTIVES[objective], f"seed={seed}"]
    command("gan-train", f"run_dir={run_dir}", *settings)
    with TemporaryDirectory() as pictures:
        result = json.loads(command("gan-eval", f"checkpoint={run_dir}", *SEARCH, f"out={pictures}"))
    return {"plain": result["plain"]["metrics"], "advlat_z": result["metrics"]}


def command(*words: str) -> str:
    done = subprocess.run(words, env=ONE_CORE, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stderr}")
    return done.stdout


def row(objective: str, experiment: str, results: list[dict[str, Scores]]) -> str:
    cells = [cell([result[sampler] for result in results]) for sampler in ("plain", "advlat_z")]
    settings = " ".join([objective, *OBJECTIVES[objective]])
    return f"| {experiment} | `{settings}` | {' | '.join(cells)} |"


def cell(scores: list[Scores]) -> str:
    modes = "/".join(f"{score['modes_covered']:.0f}" for score in scores)
    quality = [100 * score["high_quality_fraction"] for score in scores]
    kl = [score["mode_kl"] for score in scores]
    return f"{modes} | {statistics.mean(quality):.1f} ± {statistics.stdev(quality):.1f} | {statistics.mean(kl):.3f}"


def main(folder: Path) -> None:
    jobs = [(experiment, objective, seed) for experiment in EXPERIMENTS for objective in OBJECTIVES for seed in SEEDS]
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = dict(zip(jobs, pool.map(lambda job: run(folder, *job), jobs), strict=True))
    print("| data | objective | modes | high quality, % | mode KL | modes, -z | high quality, -z, % | mode KL, -z |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for experiment in EXPERIMENTS:
        for objective in OBJECTIVES:
            print(row(objective, experiment, [results[experiment, objective, seed] for seed in SEEDS]))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/toys"))
