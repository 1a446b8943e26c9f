"""The keys of conf/sweep.yaml that belong to the sweep, not to a run."""

from typing import Any

SWEEPING: dict[str, Any] = {
    "sweep_dir": str,
    "dry_run": bool,
    "fail_fast": bool,
    "slots_per_device": int | None,
    "baseline": str | None,
    "margin": float | None,
    "paired": bool | None,
    "race": bool,
    "race_factor": int,
    "tuned": bool,
    "tuning_rates": list[float],
    "tuning_seeds": list[int],
    "seeds": list[int] | None,
    "study": dict[str, Any] | None,
}
NOT_OF_A_SWEEP = {  # settings of gan-train that a job cannot have, and why
    "run_dir": "each job has its own folder in sweep_dir",
    "resume": "each job has its own folder in sweep_dir",
    "pause_at": "race=true pauses its jobs itself",
    "estimate": "gan-train estimate=true says what one run needs",
}
