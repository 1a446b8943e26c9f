"""Run folders as runs leave them, with scores of our choosing."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from gan_cli.config.read import read_config

from ..conftest import composed_config

MEANING: dict[str, Any] = {
    "leading": "fid_digits",
    "headlines": ["fid_digits", "inception_score_digits_mean"],
    "directions": {"fid_digits": "lower", "inception_score_digits_mean": "higher"},
}
PROTOCOL = {"dataset": "digits", "num_fake": 100, "extractor_sha256": "0" * 64}


def make_run(
    folder: Path,
    *overrides: str,
    seed: int = 0,
    fid: float | None = 1.0,
    status: str = "completed",
    protocol: dict[str, Any] = PROTOCOL,
    spelt: list[str] | None = None,
    meaning: dict[str, Any] = MEANING,
) -> Path:
    """A run with FIDs 4 `fid`, 2 `fid` and `fid` at steps 10, 20 and 30; `fid` None: never scored."""
    config, _ = read_config(composed_config(*overrides, f"seed={seed}", "steps=30"))
    path = folder / f"run-{len(list(folder.glob('*')) if folder.is_dir() else [])}"
    (path / "samples").mkdir(parents=True)
    Image.new("L", (40, 40), 40 * (seed + 1)).save(path / "samples" / "00000030.png")
    Image.new("L", (40, 40), 200).save(path / "samples" / "real.png")
    fids = [] if fid is None else [4 * fid, 2 * fid, fid]
    scores = [{"fid_digits": value, "inception_score_digits_mean": 5.0 + seed} for value in fids]
    records: list[dict[str, Any]] = [
        {"step": step, "seconds": step / 10, "losses": {"discriminator": {"a": 1.0, "b": 0.5}, "generator": {"a": 2.0}}}
        for step in (10, 20, 30)
    ]
    records += [{"step": step, "metrics": metrics} for step, metrics in zip((10, 20, 30), scores, strict=False)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    metrics: dict[str, Any] = {"last": {}, "best": {}, "trajectory": {}}
    if fids:
        along = {"min": min(fids), "max": max(fids), "mean": sum(fids) / 3, "std": 0.5}
        metrics = {"last": scores[-1], "best": scores[-1], "best_step": 30, "trajectory": {"fid_digits": along}}
    summary = {
        "status": status,
        "step": 30,
        "error": "" if status == "completed" else f"it {status}",
        "config": config,
        "metrics": metrics | meaning | {"floor": {"fid_digits": 0.25}},
        "objective": {},
        "protocol": protocol,
        "cost": {
            "seconds": 3.0 + seed,
            "images_seen": 120,
            "images_per_second": 40.0,
            "discriminator_updates": 30,
            "generator_updates": 30,
            "peak_memory_bytes": 2**20,
            "device": "cpu",
            "sampling": {"gradient_calls": 0.0, "generator_passes": 1.0, "discriminator_passes": 0.0, "seconds": 0.1},
        },
        "versions": {},
        "overrides": spelt if spelt is not None else [*overrides, f"seed={seed}"],
    }
    (path / "summary.json").write_text(json.dumps(summary))
    return path
