"""Whether two versions of the program compute the same numbers, bit for bit, for every kind of run.

    python benchmarks/same_numbers.py record FILE [CHECKOUT]    trains every case, with the program in CHECKOUT
    python benchmarks/same_numbers.py compare FILE FILE         names what differs; exit code 1 if anything does

Record both on one machine, with one version of PyTorch. Of each run it records digests of the weights, buffers and
optimizer states at the last step, all records except their times, the scores, and the pictures of generated images.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

SHORT = [
    *("steps=6", "batch_size=16", "log_every=1", "sample_every=3", "evaluate_every=3", "num_eval_images=64"),
    *("device=cpu", "checkpoint_every=4", "latent_dim=16"),
]
SMALL = ["model.generator.width=8", "model.discriminator.width=8"]
POINTS = ["dataset=ring", "dataset.points_per_mode=200", "model=mlp"]
DIVERGENCES = (
    *("kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", "jeffrey", "jensen_shannon"),
    *("jensen_shannon_weighted", "gan", "total_variation", "alpha"),
)
REFINEMENTS = {
    "advlat_z": ["latent_sampler.steps=3"],
    "ddls": ["latent_sampler.steps=5"],
    "drs": ["latent_sampler.num_burn_in=300"],
    "mh": ["latent_sampler.chain_length=4"],
}
OBJECTIVES = ("stdgan", "lsgan", "hinge", "wgan", "wgan_gp", "relativistic", "fgan", "realness")


def cases() -> dict[str, list[str]]:
    """Overrides by the name of the case; a case that starts with `eval` or `sample` uses the run it names."""
    runs = {f"objective={name}": [*SMALL, f"objective={name}"] for name in OBJECTIVES}
    runs |= {f"f-GAN {name}": [*SMALL, "objective=fgan", f"objective.divergence={name}"] for name in DIVERGENCES}
    for pairing in ("paired", "average"):
        for loss in ("standard", "least_squares", "hinge"):
            settings = [f"objective.pairing={pairing}", f"objective.loss={loss}"]
            runs[f"relativistic {pairing} {loss}"] = [*SMALL, "objective=relativistic", *settings]
    for setting in (
        *("generator_objective=1", "generator_objective=3", "pairing=index", "anchors=fixed", "anchors=expected"),
        *("anchor_shape=skewed_normal", "feature_resampling=true"),
    ):
        runs[f"realness {setting}"] = [*SMALL, "objective=realness", f"objective.{setting}"]
    runs["stdgan saturating"] = [*SMALL, "objective.saturating=true"]
    for regularizer in (
        *("none", "r2", "gradient_penalty", "dragan", "weight_clipping", "spectral_norm", "mode_seeking", "vat"),
        *("adversarial_training", "[r1,vat]", "[spectral_norm,gradient_penalty]"),
    ):
        runs[f"regularizer={regularizer}"] = [*SMALL, f"regularizer={regularizer}"]
    runs["r1 lazily"] = [*SMALL, "regularizer.r1.every=2"]
    runs["vat of realness"] = [*SMALL, "objective=realness", "regularizer=vat"]
    runs["relativistic adversarial training"] = [*SMALL, "objective=relativistic", "regularizer=adversarial_training"]
    for sampler in ("uniform", "truncated_gaussian", "advlat_qua", "advlat_div"):
        runs[f"latent_sampler={sampler}"] = [*SMALL, f"latent_sampler={sampler}"]
    for sampler, settings in REFINEMENTS.items():
        runs[f"latent_sampler={sampler}"] = [*SMALL, f"latent_sampler={sampler}", *settings]
        runs[f"{sampler} of realness"] = [*SMALL, "objective=realness", f"latent_sampler={sampler}", *settings]
    for experiment in ("advlat_qua", "advlat_div", "advlat_qua_plus", "advlat_div_plus"):
        runs[f"experiment={experiment}"] = [*SMALL, f"experiment={experiment}"]
    for model in ("dcgan_classic", "cnn", "resnet"):
        runs[f"model={model}"] = [*SMALL, f"model={model}", "dataset.image_size=32"]
    runs["model=mlp"] = ["model=mlp", "model.generator.bounded=true"]
    for dataset in ("ring", "grid", "grid3"):
        runs[f"dataset={dataset}"] = [f"dataset={dataset}", "dataset.points_per_mode=200", "model=mlp"]
    runs["maxout"] = ["dataset=grid3", "dataset.points_per_mode=200", "model=mlp_maxout", "objective=realness"]
    runs["points by mh"] = [*POINTS, "latent_sampler=mh", "latent_sampler.chain_length=4"]
    runs["points with vat"] = [*POINTS, "regularizer=vat", "latent_dim=2"]
    runs["several updates"] = [*SMALL, "discriminator_steps=3", "generator_steps=2"]
    runs["rmsprop"] = [*SMALL, "objective=wgan", "experiment=rmsprop"]
    decay = "lr={start: 1e-3, end: 0.0, until: 6, shape: linear, since: 2}"
    runs["linear decay"] = [*SMALL, f"generator_optimizer.{decay}", f"discriminator_optimizer.{decay}"]
    runs["weights themselves"] = [*SMALL, "ema_decay=0.0"]
    return {name: [*SHORT, *overrides] for name, overrides in runs.items()} | {
        "eval run=objective=hinge": [],
        "eval run=latent_sampler=advlat_z": [],
        "eval run=objective=realness": ["latent_sampler=mh", "latent_sampler.chain_length=3"],
        "eval run=objective=relativistic": ["latent_sampler=advlat_z", "latent_sampler.steps=2"],
        "eval run=latent_sampler=uniform": ["latent_sampler=drs", "latent_sampler.num_burn_in=300"],
        "eval run=dataset=ring": ["latent_sampler=ddls", "latent_sampler.steps=5"],
        "sample run=objective=wgan_gp": ["num_images=20"],
        "sample run=dataset=grid": ["num_images=20"],
        "sample run=objective=lsgan": ["num_images=20", "latent_sampler=ddls", "latent_sampler.steps=3"],
    }


OLD_OVERRIDES = {"linear decay": [*SHORT, *SMALL, "decay_start=2"]}  # for versions without schedules


def record(file: Path, checkout: Path) -> None:
    wanted = cases()
    if not (checkout / "gan_cli" / "schedule.py").is_file():
        wanted |= OLD_OVERRIDES
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(scratch)
        found: dict[str, Any] = {}
        for revisit in (False, True):  # runs first: the others read them
            names = [name for name in wanted if (name.startswith(("eval run=", "sample run="))) == revisit]
            measured = pool.map(lambda name: digests(name, wanted[name], folder, checkout), names)
            for name, digest in zip(names, measured, strict=True):
                found[name] = digest
                print(name, flush=True)
    file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def digests(name: str, overrides: list[str], folder: Path, checkout: Path) -> dict[str, Any]:
    command, _, of = name.partition(" run=")
    if not of:
        run = folder / name
        call("train", [*overrides, f"run_dir='{run}'"], checkout)
        return dict(run_digests(run))
    out = folder / f"{name} out"
    output = [f"out='{out}'"] if command == "sample" or overrides else []
    said = call(command, [f"checkpoint='{folder / of}'", *overrides, *output], checkout)
    found: dict[str, Any] = {f"picture {path.name}": sha256(path.read_bytes()) for path in sorted(out.glob("*.png"))}
    found |= {f"file {path.name}": sha256(path.read_bytes()) for path in sorted(out.glob("*.csv"))}
    if command == "eval":
        said_json = json.loads(said)
        found |= {key: said_json[key] for key in ("metrics", "floor")} | {"plain": said_json.get("plain", {})}
        found["plain"] = found["plain"].get("metrics", {})
        found["passes"] = {key: value for key, value in said_json["cost"].items() if key != "seconds"}
    return found


def call(command: str, arguments: list[str], checkout: Path) -> str:
    program = [sys.executable, "-P", "-c", f"from gan_cli.cli import {COMMANDS[command]} as run; run()"]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{command} {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


COMMANDS = {"train": "train", "eval": "evaluate", "sample": "sample"}


def run_digests(run: Path) -> Iterator[tuple[str, Any]]:
    summary = json.loads((run / "summary.json").read_text())
    yield "scores", {key: summary["metrics"][key] for key in ("last", "best", "floor", "trajectory")}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for one in records:
        for key in ("seconds", "scoring_seconds"):
            one.pop(key, None)
        for key in ("spread", "rates", "gradient_norms"):  # earlier versions do not record them
            one.pop(key, None)
        one.get("sampling", {}).pop("seconds", None)
    yield "records", records
    for step in ("step-00000000", "step-00000004", "step-00000006"):
        for part, state in parts_of(run / "checkpoints" / step).items():
            yield f"{step} {part}", sha256(b"".join(flat(state)))
    for picture in sorted((run / "samples").glob("*.png")):
        yield f"picture {picture.name}", sha256(picture.read_bytes())


def parts_of(checkpoint: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of each part; versions up to 0.1.0 have them in a file of torch's, with an optimizer's groups."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    if (checkpoint / "state.pt").is_file():
        for part, state in torch.load(checkpoint / "state.pt", weights_only=True).items():
            inner = state["state"] if "param_groups" in state else {"": state}
            values = {
                f"{number}/{key}".lstrip("/"): value for number, one in inner.items() for key, value in one.items()
            }
            found[part] = values
    elif (checkpoint / "state.safetensors").is_file():
        for name, value in load_file(checkpoint / "state.safetensors").items():
            part, _, key = name.partition("/")
            found.setdefault(part, {})[key] = value
    return {part: values for part, values in found.items() if values}


def flat(state: dict[str, torch.Tensor]) -> Iterator[bytes]:
    """Every tensor with its name."""
    for key, value in sorted(state.items()):
        yield f"{key} {value.dtype} {tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def compare(first: Path, second: Path) -> None:
    before, after = (json.loads(path.read_text()) for path in (first, second))
    different = []
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            different.append(f"{name}: only in one of them")
            continue
        keys = sorted({*before[name], *after[name]})
        different += [f"{name}: {key}" for key in keys if before[name].get(key) != after[name].get(key)]
    compared = sum(len(case) for case in before.values())
    print("\n".join(different) or f"{len(before)} cases, {compared} digests and records: all the same")
    sys.exit(bool(different))


if __name__ == "__main__":
    command, *files = sys.argv[1:]
    if command == "record":
        record(Path(files[0]), Path(files[1] if len(files) > 1 else "."))
    else:
        compare(Path(files[0]), Path(files[1]))
