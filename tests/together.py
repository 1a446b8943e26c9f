"""Turns of one step in several processes, and in one process that draws what they would.

As a program, `python -m tests.together <folder> <float type>` is one of the processes, by torchrun's variables.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import batch_norm
from torch.overrides import TorchFunctionMode

import gan_cli.game
from gan_cli import build_experiment, config_of
from gan_cli.engine import Engine
from gan_cli.experiment import Experiment
from gan_cli.feed import batches, gathered
from gan_cli.iteration import take_turn
from gan_cli.models.stylegan2 import BatchDeviation
from gan_cli.ranks import Ranks, join
from gan_cli.regularizers import mode_seeking
from gan_cli.runs.state import flat, state_of
from gan_cli.seeding import mix

BATCH = 12
SMALL = (
    *(f"batch_size={BATCH}", "steps=10", "latent_dim=8", "device=cpu", "dataset.metrics.names=[fid]"),
    *("model.generator.width=4", "model.discriminator.width=4"),
)
LABELS = ("conditioning=concat",)
CASES: dict[str, Sequence[str]] = {
    "wgan_gp": ("objective=wgan_gp",),
    "lazy r1": ("objective=stdgan", "regularizer=r1", "regularizer.r1.every=2"),
    "realness": ("objective=realness", "latent_sampler=advlat_qua", "objective.anchors=fixed"),
    "resampled": ("objective=realness", "objective.anchors=resampled", "regularizer=r1"),
    "realness 2": ("objective=realness", "objective.generator_objective=2", "objective.anchors=resampled_each_step"),
    "spectral norm": ("objective=hinge", "regularizer=spectral_norm", "model=resnet", "dataset.image_size=32"),
    "projection": ("objective=hinge", "conditioning=projection", "regularizer=[r1,r2]"),
    "ada": ("objective=stdgan", "augmentation=ada", "augmentation.p=0.7"),
    "adaptive ada": ("objective=stdgan", "augmentation=ada", "regularizer=none"),
    "diffaugment": ("objective=lsgan", "augmentation=diffaugment", "regularizer=[r1_fd,r2_fd]"),
    "average": ("objective=relativistic", "objective.pairing=average", "regularizer=[lecam,logit_centering]"),
    "paired": ("objective=relativistic", "objective.pairing=paired", "regularizer=[r1,r2]"),
    "drifting": ("objective=drifting", "regularizer=none"),
    "contrastive": ("objective=hinge", "generator_labels=concat", "discriminator_labels=contrastive"),
    "d2d_ce": ("objective=hinge", "generator_labels=concat", "discriminator_labels=d2d_ce"),
    "pairs": ("objective=stdgan", "regularizer=mode_seeking"),
    "mcgan": ("objective=mcgan", *LABELS),
    "semi-supervised": ("objective=semi_supervised", "dataset.num_labelled=100", "regularizer=[vat,feature_matching]"),
    "labelled batches": ("objective=semi_supervised", "dataset.num_labelled=100", "labelled_batch_size=24"),
    "classification": ("objective=classification", "model=classifier", "metrics@dataset.metrics=classification"),
    "path length": ("model=stylegan2", "regularizer=[r1,path_length]", "model.generator.mixing=0.0"),
    "consistency": ("objective=hinge", "regularizer=[consistency,zcr,dragan]"),
    "fgan": ("objective=fgan", "regularizer=vat"),
    "san": ("objective=san", "regularizer=r1"),
    "logan": ("objective=stdgan", "latent_sampler=logan", "latent_sampler.share=1.0"),
}

LACKING = {"drifting": "model.discriminator", "classification": ("model.generator", "dataset.metrics")}


def built(case: str, engine: Engine) -> Experiment:
    extra = ("regularizer.path_length.share=1.0", "regularizer.path_length.every=1") if case == "path length" else ()
    common = [setting for setting in SMALL if not setting.startswith(LACKING.get(case, "-"))]
    experiment = build_experiment(config_of([*common, *CASES[case], *extra]), engine)
    game = replace(experiment.game, joins=False)  # a pass of both would draw in another order
    return replace(experiment, gan=replace(experiment.gan, game=game))


def outcome(experiment: Experiment, step: int = 1) -> dict[str, Tensor]:
    """Losses, gradients, running statistics and other state after the turns of one step, without an update."""
    engine, found = experiment.game.engine, dict[str, Tensor]()
    engine.begin_step(experiment.settings.seed, step)
    with engine.common_draws():
        for leaf in experiment.leaves:
            leaf.before_step(engine.device, step)
    turns = batches(experiment, gathered(experiment, step))
    for player in experiment.players:
        played = take_turn(experiment, player, next(turns), step + 1, step)
        for leaf in experiment.leaves:
            leaf.after_turn(played.turn)
        found |= {f"{player.name} {name}": loss for name, loss in played.losses.items()}
        named = player.network.named_parameters()
        found |= {f"{player.name} {name}": value.grad for name, value in named if value.grad is not None}
    parts = {name: part for name, part in experiment.parts().items() if not name.endswith("_optimizer")}
    states = {name: value for part, held in parts.items() for name, value in flat(part, state_of(held))}
    return {k: v.detach().clone() for k, v in {**found, **states}.items() if isinstance(v, Tensor)}


class Whole(Ranks):
    """One process that plays the turns of `count` processes at once, each row drawn as the one that has it would."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.states: list[Tensor] = []
        self.apart = True

    def begin_step(self, seed: int, step: int) -> None:
        self.step, self.entrances = (seed, step), 0
        self.states = [seeded(mix("step", seed, rank, step)) for rank in range(self.count)]

    @contextmanager
    def common(self, generators: Sequence[torch.Generator]) -> Iterator[None]:
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(mix("common", *self.step, self.entrances))
        self.entrances, self.apart = self.entrances + 1, False
        yield
        self.apart = True
        torch.set_rng_state(before)

    @contextmanager
    def stream(self, key: str, engine: Engine) -> Iterator[None]:
        """As `random_stream` in each of the processes."""
        outer = self.states
        self.states = [seeded(mix(key, sha256(state.numpy().tobytes()).hexdigest())) for state in outer]
        yield
        self.states = outer

    def each(self, rows: int, function: Callable[[int], Tensor]) -> Tensor:
        """The rows that the function draws for as many in each process, with its random state.

        Where real and generated images are in one batch, each process has its part of both.
        """
        made = []
        for state in self.states:
            torch.set_rng_state(state)
            made.append(function(rows // self.count))
            state.copy_(torch.get_rng_state())
        sides = max(1, rows // BATCH)
        return torch.cat([part for side in zip(*(own.chunk(sides) for own in made), strict=True) for part in side])


def seeded(seed: int) -> Tensor:
    return torch.Generator().manual_seed(seed).get_state()


class AsRanks(TorchFunctionMode):
    """Random draws and batch norm, computed for each process's rows apart."""

    SIZED = (torch.rand, torch.randn)
    LIKE = (torch.rand_like, torch.randn_like)

    def __init__(self, whole: Whole) -> None:
        super().__init__()
        self.whole = whole

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.whole.apart or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func in self.SIZED:
            size = args[0] if isinstance(args[0], tuple | torch.Size) else args
            return self.whole.each(size[0], lambda rows: func(rows, *size[1:], **kwargs))
        if func in self.LIKE:
            return self.whole.each(len(args[0]), lambda rows: func(args[0][:rows], **kwargs))
        if func is torch.randint:
            *bounds, size = args
            return self.whole.each(size[0], lambda rows: func(*bounds, (rows, *size[1:]), **kwargs))
        if func is batch_norm:
            return self.normed(*args, **kwargs)
        return func(*args, **kwargs)

    def normed(self, inputs: Tensor, mean: Tensor | None, variance: Tensor | None, *args: Any, **kwargs: Any) -> Tensor:
        copies = [[each.clone() for each in (mean, variance) if each is not None] for _ in range(self.whole.count)]
        made = [
            batch_norm(part, *(own or (None, None)), *args, **kwargs)
            for part, own in zip(inputs.chunk(self.whole.count), copies, strict=True)
        ]
        for place, total in enumerate(each for each in (mean, variance) if each is not None):
            total.copy_(torch.stack([own[place] for own in copies]).mean(0))
        return torch.cat(made)


@contextmanager
def as_ranks(whole: Whole, monkeypatch: Any) -> Iterator[None]:
    """Inside, one process plays as several would; pairs and groups of images are those of each of them."""
    count, halves, deviation = whole.count, mode_seeking.halves, BatchDeviation.forward

    def halves_of_each(rows: Tensor) -> tuple[Tensor, Tensor]:
        first, second = zip(*map(halves, rows.chunk(count)), strict=True)
        return torch.cat(first), torch.cat(second)

    def deviation_of_each(self: BatchDeviation, features: Tensor) -> Tensor:
        return torch.cat([deviation(self, part) for part in features.chunk(count)])

    monkeypatch.setattr(gan_cli.game, "random_stream", whole.stream)
    monkeypatch.setattr(mode_seeking, "halves", halves_of_each)
    monkeypatch.setattr(BatchDeviation, "forward", deviation_of_each)
    with AsRanks(whole):
        yield


def variables(count: int) -> list[dict[str, str]]:
    """The environment of each of `count` processes of one run on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    return [os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def started(count: int, *command: str, **options: Any) -> list[subprocess.Popen[str]]:
    """As many processes, which train one run."""
    given = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
    return [subprocess.Popen([sys.executable, *command], env=env, **given) for env in variables(count)]


def ended(processes: Sequence[subprocess.Popen[str]], seconds: float = 300) -> list[tuple[int, str]]:
    """The exit status of each, and what it has printed."""
    said = [process.communicate(timeout=seconds)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def main(folder: str, dtype: str) -> None:
    torch.set_default_dtype(getattr(torch, dtype))
    ranks = join(60.0)
    for case in CASES:
        found = outcome(built(case, Engine(ranks=ranks)))
        torch.save(found, Path(folder) / f"{case} {ranks.rank}.pt")
    ranks.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
