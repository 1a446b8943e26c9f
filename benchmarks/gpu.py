"""What a GPU makes of it, in under ten minutes: python -m benchmarks.gpu writes docs/benchmarks-gpu.md and its JSON.

The tests marked `gpu`, images a second and busy share of steps by how they are computed, 50,000 images generated and
scored, and a run of some minutes on images of CIFAR-10's size. Without a GPU the same code runs with tiny sizes, prints
what it measures on the CPU, and writes nothing.
"""

import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.profiler import ProfilerActivity, profile

from benchmarks.peers import mimicry
from benchmarks.ranks import run_once
from gan_cli.commands import train as command
from gan_cli.config.build import build_experiment
from gan_cli.config.nodes import Config
from gan_cli.config.read import config_of
from gan_cli.data import TrainingSet
from gan_cli.datasets.dataset import Dataset
from gan_cli.engine import Engine, choose_engine
from gan_cli.errors import one_line
from gan_cli.estimate import Sizes, estimated
from gan_cli.metrics.fidelity import FeatureExtractorInceptionV3
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.sessions import cpu_name
from gan_cli.shapes import unlabelled
from gan_cli.trainer import train

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks-gpu.md"
SECONDS = 570  # of the whole program; what comes too late is not measured
FOR_THE_RUN = 170  # of them
UNMEASURED = "not measured"
TOGETHER = ["model=resnet", "dataset.image_size=32", "batch_size=512", "engine.capture=false"]  # of one run on two GPUs
NETS: dict[str, list[str]] = {
    "SNGAN, ResNet-32, 5 updates, batch 64": ["experiment=sngan_resnet_cifar10", "generator_batch_size=null"],
    "DCGAN, ResNet-32, batch 64": [
        "experiment=sngan_resnet_cifar10",
        "generator_batch_size=null",
        *["objective=stdgan", "~regularizer.spectral_norm", "discriminator_steps=1"],
    ],
    "WGAN-GP, ResNet-32, 5 updates, batch 64": ["experiment=wgan_gp_resnet_cifar10", "generator_batch_size=null"],
    "RealnessGAN, DCGAN-32, 3 updates of G, batch 32": ["experiment=realness_cifar10"],
    "DCGAN-32 with R1, batch 64": ["dataset=cifar10", "model.generator.width=64", "model.discriminator.width=64"],
}
PEERS = {  # networks that torch_mimicry has, with the updates of its discriminator for each of its generator
    "SNGAN, ResNet-32, 5 updates, batch 64": (mimicry("sngan", "SNGAN"), 5),
    "DCGAN, ResNet-32, batch 64": (mimicry("dcgan", "DCGAN"), 1),
    "WGAN-GP, ResNet-32, 5 updates, batch 64": (mimicry("wgan_gp", "WGANGP"), 5),
}
PEER = "torch_mimicry float32"
MODES = {
    "eager": ["engine.capture=false"],
    "captured": ["engine.capture=auto"],
    "compiled": ["engine.capture=false", "engine.compile=true"],
    "compiled and captured": ["engine.capture=auto", "engine.compile=true"],
}
SETTINGS = {
    f"{mode} {precision}": [*settings, f"engine.precision={precision}"]
    for mode, settings in MODES.items()
    for precision in ("float32", "tf32", "bfloat16")
}
COMPILED = next(iter(NETS))  # the only network that is
CUDA_WORK = torch._C._autograd.DeviceType.CUDA


@dataclass(frozen=True, kw_only=True)
class CifarShaped(Dataset):
    """Smooth noise, [3, 32, 32]: time does not depend on what an image shows."""

    num_images: int

    def load(self) -> TrainingSet:
        coarse = torch.rand(self.num_images, 3, 5, 5, generator=torch.Generator().manual_seed(0))
        images = torch.cat([interpolate(part, (32, 32), mode="bilinear") for part in coarse.split(5000)])
        return TrainingSet((images * 255).to(torch.uint8), unlabelled(self.num_images))

    @property
    def protocol(self) -> dict[str, str | int | float]:
        return {"dataset": "smooth noise", "num_images": self.num_images}


@dataclass(frozen=True)
class Bench:
    """Where, how large, and until when."""

    engine: Engine
    ends: float
    folder: Path

    @property
    def on_gpu(self) -> bool:
        return self.engine.device.type == "cuda"

    @property
    def left(self) -> float:
        return self.ends - time.perf_counter()

    @property
    def num_images(self) -> int:
        return 50_000 if self.on_gpu else 20

    def config(self, overrides: list[str]) -> Config:
        """A run on images of CIFAR-10's size, scored by a network of Inception's size with random weights."""
        tiny = [] if self.on_gpu else ["model.generator.width=4", "model.discriminator.width=4", "batch_size=4"]
        config = config_of([*overrides, "steps=1000000000", "num_eval_images=null", *tiny])
        weights = self.folder / "inception.pth"
        metrics = config["dataset"]["metrics"]
        extractor = metrics["extractor"] | {"weights": str(weights), "sha256": sha256(weights.read_bytes()).hexdigest()}
        node = {"_target_": "benchmarks.gpu.CifarShaped", "num_images": self.num_images}
        return config | {"dataset": node | {"metrics": metrics | {"extractor": extractor, "names": ["fid"]}}}


def main() -> int:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(choose_engine(device), time.perf_counter() + SECONDS, Path(scratch))
        torch.save(random_inception(), bench.folder / "inception.pth")
        found = measured(bench)
    print(page(found))
    if not bench.on_gpu:
        print("There is no GPU here: these are tiny sizes on a CPU, and nothing was written.")
        return 0
    PAGE.write_text(page(found))
    PAGE.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {PAGE} and {PAGE.with_suffix('.json').name}")
    return 0 if found["tests"]["failed"] == 0 else 1


def measured(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = {"machine": machine(bench), "tests": tests() if bench.on_gpu else None}
    found["steps"] = {}
    for net, way in ways(bench):
        measure = partial(steps, bench, [*NETS[net], *SETTINGS[way]]) if way in SETTINGS else partial(peer, bench, net)
        found["steps"].setdefault(net, {})[way] = attempt(bench, FOR_THE_RUN, f"{net}, {way}", measure)
    found["together"] = attempt(bench, FOR_THE_RUN, "one run on two GPUs", together)
    found["run"] = attempt(bench, 60, "a run", partial(run, bench))
    return found


def together() -> dict[str, Any]:
    """One run on one GPU and on two, the same batch."""
    if torch.cuda.device_count() < 2:
        return {"unmeasured": "one GPU"}
    one, two = (run_once(count, TOGETHER) for count in (1, 2))
    return {"one": one["images_per_second"], "two": two["images_per_second"], "bytes": two["bytes"]}


def ways(bench: Bench) -> list[tuple[str, str]]:
    """Each network with how its steps are computed, what is wanted most first: compiling takes a minute."""
    if not bench.on_gpu:
        return [(COMPILED, "eager float32"), (COMPILED, "eager bfloat16"), (COMPILED, PEER)]
    every = [(net, way) for net in NETS for way in ways_of(net)]
    return sorted(every, key=lambda pair: "compiled" in pair[1])


def ways_of(net: str) -> list[str]:
    """In the order of the page."""
    ours = [way for way in SETTINGS if "compiled" not in way or net == COMPILED]
    return ours + [PEER] * (net in PEERS)


def attempt(bench: Bench, reserve: float, what: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured, or why it is not; `reserve` seconds are left for what comes later."""
    if bench.left < reserve:
        return {"unmeasured": "no time left"}
    print(f"{bench.left:4.0f} s left: {what}", file=sys.stderr, flush=True)
    try:
        return measure()
    except Exception as error:
        return {"unmeasured": one_line(error)}


def machine(bench: Bench) -> dict[str, Any]:
    return {
        "gpu": bench.engine.gpu_name(),
        "cpu": cpu_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if bench.on_gpu else None,
        "date": datetime.now(UTC).date().isoformat(),
        "command": "make gpu",
    }


def tests() -> dict[str, Any]:
    """The tests marked `gpu`."""
    arguments = ["-m", "pytest", "-q", "-m", "gpu", "--tb=short", "-p", "no:cacheprovider", "tests/test_gpu.py"]
    try:
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240)
    except subprocess.TimeoutExpired:
        return {"passed": 0, "failed": 1}
    print(done.stdout[-4000:], file=sys.stderr, flush=True)
    words = done.stdout.strip().rpartition("\n")[2].replace(",", "").split()
    counts = {what: int(count) for count, what in zip(words, words[1:], strict=False) if count.isdigit()}
    failed = counts.get("failed", 0) + counts.get("errors", 0) + counts.get("error", 0)
    return {"passed": counts.get("passed", 0), "failed": failed or int(done.returncode not in (0, 5))}


def steps(bench: Bench, overrides: list[str]) -> dict[str, Any]:
    """Real images a second, the share of the time in which the device computes, and the memory at its peak."""
    reset_memory(bench)
    experiment = build_experiment(bench.config(overrides), bench.engine)
    images = experiment.images_per_step
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        stepping = train(experiment)
        found = timed(bench, lambda: next(stepping), warm=12 if bench.on_gpu else 1)
    peak = bench.engine.peak_memory() - experiment.training_set.values.nbytes if bench.on_gpu else None
    speed = {"seconds": found["seconds"], "images_per_second": images / found["seconds"], "busy": found["busy"]}
    note = {"said": one_line(said[0].message)} if said else {}  # type: ignore[arg-type]
    estimate = estimated_memory(bench, overrides) if MODES["eager"][0] in overrides else None
    return speed | {"peak_memory_bytes": peak, "estimated_memory_bytes": estimate} | note


def estimated_memory(bench: Bench, overrides: list[str]) -> int:
    """What `estimate=true` says of eager steps."""
    return estimated(build_experiment(bench.config(overrides), Sizes())).memory


def timed(bench: Bench, step: Callable[[], object], warm: int, seconds: float = 1.5) -> dict[str, Any]:
    """Seconds a step, over some seconds; and the busy share, from a profile of ten steps after that."""
    for _ in range(warm):
        step()
    wait(bench)
    started, count = time.perf_counter(), 0
    while count < 2 or (bench.on_gpu and time.perf_counter() - started < seconds):
        step()
        count += 1
    wait(bench)
    each = (time.perf_counter() - started) / count
    if not bench.on_gpu:
        return {"seconds": each, "busy": None}
    with profile(activities=[ProfilerActivity.CUDA]) as traced:
        for _ in range(10):
            step()
        wait(bench)
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in traced.events() or []
        if event.device_type == CUDA_WORK
    ]
    return {"seconds": each, "busy": busy_share(spans, 10 * each * 1e6)}


def busy_share(spans: list[tuple[float, float]], wall: float) -> float:
    """The share of `wall` that is in any of the spans, at most 1: kernels may overlap, and a profile slows steps."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return min(1.0, covered / wall)


def peer(bench: Bench, net: str) -> dict[str, Any]:
    """The same of torch_mimicry's own networks and training steps, on images that are on the device."""
    if find_spec("torch_mimicry") is None:
        return {"unmeasured": "torch_mimicry is not installed"}
    reset_memory(bench)
    build, updates = PEERS[net]
    turns = build(torch.rand(64, 3, 32, 32, device=bench.engine.device) * 2 - 1, 1).turns

    def step() -> None:
        for _ in range(updates):
            turns["discriminator"]()
        turns["generator"]()

    found = timed(bench, step, warm=5 if bench.on_gpu else 1)
    memory = bench.engine.peak_memory() if bench.on_gpu else None
    return {**found, "images_per_second": 64 * updates / found["seconds"], "peak_memory_bytes": memory}


def run(bench: Bench) -> dict[str, Any]:
    """SNGAN as gan-train trains and scores it, for the time that is left but for what scoring needs."""
    reset_memory(bench)
    overrides = NETS["SNGAN, ResNet-32, 5 updates, batch 64"]
    each = steps(bench, overrides)["seconds"]
    count = int(min(180.0, bench.left - 70) / each) if bench.on_gpu else 2
    reset_memory(bench)
    config = bench.config(overrides) | {"steps": count, "log_every": max(1, count // 100)}
    config |= {"checkpoint_every": 0, "sample_every": 0, "evaluate_every": 0}
    options: dict[str, Any] = {
        "device": str(bench.engine.device),
        "run_dir": str(bench.folder / "run"),
        "init_from": None,
    }
    options |= {"pause_at": None, "rank_timeout": 600.0}
    with redirect_stdout(sys.stderr):
        command.train(config, options | {"outputs": "", "tracker": {}}, [], "", "benchmark")
    summary = RunFolder(bench.folder / "run").summary() or {}
    cost = summary["cost"]
    return {
        "status": summary["status"],
        "steps": summary["step"],
        "num_generated": bench.num_images,
        **{key: cost[key] for key in ("seconds", "images_per_second", "peak_memory_bytes")},
        "generating_seconds": cost["sampling"]["seconds"],
        "scoring_seconds": cost["scoring_seconds"],
    }


def reset_memory(bench: Bench) -> None:
    if bench.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def wait(bench: Bench) -> None:
    if bench.on_gpu:
        torch.cuda.synchronize()


def random_inception() -> dict[str, Tensor]:
    """Weights of the scoring network's shapes; a file of the standard ones is not needed to see how fast it is."""
    with torch.device("meta"), without_loading():
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path="-")
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "bn.weight")):
            state[name] = torch.ones(tensor.shape)
        elif tensor.dim() > 1:
            state[name] = torch.randn(tensor.shape, generator=generator) * (2 / tensor[0].numel()) ** 0.5
        else:
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return state


@contextmanager
def without_loading() -> Iterator[None]:
    """Inside, the scoring network is built without its weights, which its constructor insists on."""
    with (
        mock.patch("torch.load", return_value={}),
        mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        yield


def page(found: Mapping[str, Any]) -> str:
    """The page of results; what is missing in them is not measured."""
    tested, ran = found.get("tests"), found.get("run") or {}
    told = f"{tested['passed']} passed, {tested['failed']} failed" if tested else UNMEASURED
    rows = [
        f"| {net} | {name} | {' | '.join(step_cells(found.get('steps', {}).get(net, {}).get(name)))} |"
        for net in NETS
        for name in ways_of(net)
    ]
    why = f" ({ran['unmeasured']})" if "unmeasured" in ran else ""
    of_run = [f"| {name} | {number(ran.get(key))}{why} |" for key, name in RUN_ROWS.items()]
    return PAGE_OF.format(
        place=place(found.get("machine")),
        tests=told,
        steps="\n".join(rows),
        together=two_gpus(found.get("together") or {}),
        run="\n".join(of_run),
    )


def two_gpus(found: Mapping[str, Any]) -> str:
    if "two" not in found:
        return UNMEASURED + (f" ({found['unmeasured']})" if "unmeasured" in found else "")
    times = f"{found['two'] / found['one']:.2f} times one"
    return f"{number(found['two'])} images/s, {times}; {number(found['bytes'])} bytes exchanged a step"


def place(machine: Mapping[str, Any] | None) -> str:
    if machine is None:
        return "It has not run on a GPU yet."
    cuda = f", CUDA {machine['cuda']}" if machine["cuda"] else ""
    where = f"{machine['gpu'] or 'no GPU'}, {machine['cpu']}"
    return f"Machine: {where}; torch {machine['torch']}{cuda}; {machine['date']}."


PAGE_OF = """\
# Benchmarks on a GPU

`make gpu` writes this page and `benchmarks-gpu.json` beside it, in under ten minutes on one GPU. {place}

Tests of a GPU (`pytest -m gpu`): {tests}.

## Steps

Real images a second, with everything that a step does; busy is the share of the time in which a kernel runs, from a
profile of ten steps. What each way and precision is: [speed.md](speed.md). torch_mimicry trains its own networks of the
same shape with its own training steps, from images on the device; in its float32 convolutions do not round either.
Memory is what tensors take at most, without the images of the data set; the estimate is that of `estimate=true`, for
eager steps.

| network | computed | images/s | busy | peak memory, MiB | estimate, MiB |
| --- | --- | --- | --- | --- | --- |
{steps}

## One run on two GPUs

ResNet-32 of width 64, batch 512, over NCCL ([scaling.md](scaling.md)): {together}.

## A run

SNGAN on 50,000 images of CIFAR-10's size, as `gan-train` trains and scores it: FID of 50,000 images, with a network of
Inception's shape.

| what | |
| --- | --- |
{run}
"""
RUN_ROWS = {
    "status": "status",
    "steps": "steps",
    "seconds": "seconds of training",
    "images_per_second": "images/s",
    "peak_memory_bytes": "peak memory, bytes",
    "num_generated": "images generated and scored",
    "generating_seconds": "seconds to generate them",
    "scoring_seconds": "seconds to generate and score them",
}


def step_cells(cell: Mapping[str, Any] | None) -> list[str]:
    if cell is None or "unmeasured" in cell:
        why = f" ({cell['unmeasured']})" if cell else ""
        return [UNMEASURED + why, "", "", ""]
    note = f" ({cell['said']})" if "said" in cell else ""
    busy = UNMEASURED if cell["busy"] is None else f"{cell['busy']:.0%}"
    peak, estimate = (cell.get(f"{name}_memory_bytes") for name in ("peak", "estimated"))
    shown = UNMEASURED if peak is None else f"{peak / 2**20:,.0f}"
    return [
        number(cell["images_per_second"]) + note,
        busy,
        shown,
        "" if estimate is None else f"{estimate / 2**20:,.0f}",
    ]


def number(value: Any) -> str:
    if value is None:
        return UNMEASURED
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
