"""The other methods on the embedded digits, one seed each, as the second table of docs/benchmarks.md.

python benchmarks/methods.py [folder] [overrides]   Runs that are finished in the folder are not trained again. The
overrides, such as steps=20, are those of every run.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SETTINGS = (
    "objective=lsgan",
    "objective=relativistic",
    "objective=fgan",
    "objective=fgan objective.divergence=pearson",
    "objective=wgan",
    "objective=wgan regularizer.weight_clipping.limit=0.1",
    "objective=realness num_outcomes=51 objective.feature_resampling=true",
    "experiment=advlat_qua",
    "experiment=advlat_div",
    "regularizer=r2",
    "regularizer.r1.every=16",
    "regularizer=[r1,vat]",
    "regularizer=[r1,adversarial_training]",
    "regularizer=dragan",
)
FID, RECALL = "fid_digits_v2", "recall_digits_v2"
ONE_CORE = os.environ | {"OMP_NUM_THREADS": "1"}  # two runs at a time, a core each


def run(run_dir: Path, settings: str, overrides: list[str]) -> dict[str, Any]:
    """The summary of a run, which may have been lost."""
    words = ["gan-train", f"run_dir={run_dir}", *settings.split(), "seed=0", *overrides]
    done = subprocess.run(words, env=ONE_CORE, capture_output=True, text=True, check=False)
    file = run_dir / "summary.json"
    if done.returncode not in (0, 1) or not file.is_file():
        sys.exit(f"{' '.join(words)}\n{done.stderr}")
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return summary


def row(settings: str, summary: dict[str, Any]) -> str:
    if summary["status"] != "completed":
        return f"| `{settings}` | {summary['status']} | | |"
    last, floor = summary["metrics"]["last"], summary["metrics"]["floor"]
    return f"| `{settings}` | {last[FID]:.2f} | {last[FID] / floor[FID]:.2f} | {last[RECALL]:.2f} |"


def main(folder: Path, overrides: list[str]) -> None:
    places = [folder / f"{number:02}" for number in range(len(SETTINGS))]
    with ThreadPoolExecutor(max_workers=2) as pool:
        summaries = list(pool.map(lambda place, settings: run(place, settings, overrides), places, SETTINGS))
    print(f"| settings | {FID} | ÷ real against real | {RECALL} |\n| --- | --- | --- | --- |")
    for settings, summary in zip(SETTINGS, summaries, strict=True):
        print(row(settings, summary))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/methods"), sys.argv[2:])
