"""Steps from graphs, on a stand-in for a GPU: a graph that calls again what was recorded, with its old arguments."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import create_autospec

import pytest
import torch
from torch import Tensor, nn

from gan_cli import capture, engine
from gan_cli.capture import Captured, CaptureError, State, due, obstacles
from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine
from gan_cli.errors import UserError
from gan_cli.experiment import Experiment
from gan_cli.feed import gathered
from gan_cli.game import Game, Turn
from gan_cli.iteration import iteration
from gan_cli.regularizers.regularizer import Bound
from gan_cli.seeding import Streams
from gan_cli.shapes import Loss
from gan_cli.trainer import train

from .conftest import TINY
from .graphs import Made, Pretended, StandIn

AUTO = "engine.capture=auto"
FALLING = "generator_optimizer.lr={start: 1e-3, end: 0.0, until: 14, shape: linear}"


def build(*overrides: str) -> Experiment:
    engine = Pretended()
    experiment = build_experiment(config_of([*TINY, "steps=14", *overrides]), engine)
    engine.experiments.append(experiment)
    return experiment


def replays(experiment: Experiment) -> list[list[int]]:
    assert isinstance(experiment.game.engine, Pretended)
    return experiment.game.engine.replays


def trace(experiment: Experiment, first_step: int = 0) -> list[dict[str, float]]:
    """Every loss at every step, read before the next one."""
    return [
        {f"{player} {name}": loss.item() for player, terms in step.losses.items() for name, loss in terms.items()}
        | {"number": step.number}
        for step in train(experiment, first_step)
    ]


LAZY = ["regularizer=[r1,mode_seeking]", "regularizer.r1.every=2", "regularizer.mode_seeking.every=3"]
CASES = {
    "a lazy penalty with draws": ["regularizer=gradient_penalty", "regularizer.gradient_penalty.every=3"],
    "two lazy penalties": LAZY,
    "streams in streams": ["regularizer=vat"],
    "schedules": [FALLING, "regularizer.r1.weight={start: 8.0, end: 0.0, until: 14, shape: cosine}"],
    "averages of other lengths": ["ema_snapshots_every=5"],
    "a scheduled average": ["ema_decay={start: 0.05, end: 0.75, until: 14, shape: linear}"],
    "several updates": ["discriminator_steps=2", "generator_batch_size=6", "objective=hinge"],
    "draws before each step": ["objective=realness", "objective.anchors=resampled_each_step"],
    "an augmentation that adapts": ["augmentation=ada", "augmentation.images_to_one=100", "augmentation.target=0.0"],
    "an augmentation with a schedule": [
        "augmentation=ada",
        "augmentation.p={start: 0.0, end: 0.9, until: 14, shape: cosine}",
        "objective=relativistic",
    ],
    "styles": [
        *("model=stylegan2", "model.generator.mixing=0.9"),
        *("regularizer=path_length", "regularizer.path_length.every=3"),
    ],
    "a search": ["latent_sampler=advlat_qua", "latent_sampler.steps=2", "regularizer=spectral_norm"],
}
QUICK = ("two lazy penalties",)
SOME_SLOW = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("case", SOME_SLOW)
def test_captured_steps_are_eager_ones(case: str) -> None:
    """Losses, weights, moving average and optimizers, also where the step's numbers change what is due."""
    captured, eager = build(*CASES[case], AUTO), build(*CASES[case], "engine.capture=false")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, expected = trace(captured), trace(eager)
    assert found == [pytest.approx(losses, rel=1e-4, abs=1e-5) for losses in expected]
    assert [losses["number"] for losses in found] == list(range(1, 15))
    assert len(replays(captured)) >= 4
    assert not replays(eager)
    ours, theirs = State(captured), State(eager)
    for name, mine, other in zip(ours.names, ours.tensors, theirs.tensors, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5, msg=name)


def test_there_is_a_graph_for_each_pattern_of_due_penalties() -> None:
    lazy = build("regularizer=[r1,mode_seeking]", "regularizer.r1.every=2", "regularizer.mode_seeking.every=3", AUTO)
    assert [due(lazy, step) for step in range(6)] == [
        *[(False, False), (True, False), (False, True), (True, False), (False, False), (True, True)]
    ]
    iterate = Captured(lazy)
    for step in range(14):
        lazy.game.engine.begin_step(0, step)
        iterate(step, gathered(lazy, step), 0.5)
    assert len(iterate.recordings) == 4
    assert {pattern for pattern, found in iterate.recordings.items() if found.graph is not None} == {
        *[(False, False), (True, False), (False, True), (True, True)]
    }


@pytest.mark.slow
def test_patterns_beyond_the_most_stay_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MOST_PATTERNS", 1)
    lazy, eager = (build("regularizer.r1.every=2", setting) for setting in (AUTO, "engine.capture=false"))
    assert trace(lazy) == [pytest.approx(losses, rel=1e-4, abs=1e-5) for losses in trace(eager)]
    assert 0 < len(replays(lazy)) < 7


class Shifting(nn.Module):
    """Its noise is drawn by a generator that no graph knows."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images: Tensor) -> Tensor:
        noise = torch.randn(images.shape, generator=self.generator)
        made: Tensor = self.network(images + noise)
        return made


def with_drifting(experiment: Experiment) -> Experiment:
    game = replace(experiment.game, discriminator=Shifting(experiment.game.discriminator))
    changed = replace(experiment, gan=replace(experiment.gan, game=game))
    assert isinstance(changed.game.engine, Pretended)
    changed.game.engine.experiments.append(changed)
    return changed


def test_a_step_that_differs_is_said_once_and_the_eager_one_is_kept() -> None:
    """Noise from elsewhere is new at each call: the captured step is put back, and all later ones are eager."""
    drifting = with_drifting(build(AUTO))
    with pytest.warns(UserWarning, match="not captured in CUDA graphs, and slower: a captured step differs") as said:
        found = trace(drifting)
    assert len(said) == 1
    assert len(replays(drifting)) == 1
    assert [losses["number"] for losses in found] == list(range(1, 15))
    assert all(tensor.isfinite().all() for tensor in State(drifting).tensors)


@pytest.mark.slow
def test_with_true_a_step_that_differs_ends_the_run() -> None:
    with pytest.raises(CaptureError, match="capture=true, but steps cannot be captured: a captured step differs"):
        trace(with_drifting(build("engine.capture=true")))


@pytest.mark.slow
def test_a_recording_that_fails_is_said_and_the_step_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(StandIn):
        def record(self, function: Callable[[], Made]) -> Made:
            torch.manual_seed(99)
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    broken, eager = build(AUTO), build("engine.capture=false")
    monkeypatch.setattr(Pretended, "graph", lambda self, count: Broken(self, count))
    with pytest.warns(UserWarning, match="slower: operation not permitted when stream is capturing") as said:
        found = trace(broken)
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    assert found == [pytest.approx(losses, rel=1e-4, abs=1e-5) for losses in trace(eager)]


def test_what_is_compared_is_the_change_of_a_step() -> None:
    """A tenth of it is allowed, of each network and each of an optimizer's values; where nothing changes, nothing."""
    tiny = build(AUTO)
    list(zip(range(1), train(tiny), strict=False))
    state = State(tiny)
    before = state.copied()
    assert state.difference(before, before) == ""
    number = state.names.index("generator")
    wanted = [value.clone() for value in before]
    wanted[number] += 1.0
    state.tensors[number].add_(0.95)
    assert state.difference(before, wanted) == ""
    state.tensors[number].sub_(0.15)
    assert "in the generator by 20% of what a step changes" in state.difference(before, wanted)
    state.restore(before)
    state.tensors[state.names.index("ema_generator")].add_(0.1)
    assert "in the ema_generator, though nothing should change" in state.difference(before, before)


@pytest.mark.slow
def test_what_a_graph_would_not_notice_is_an_obstacle() -> None:
    class Own(Bound):
        player = "generator"

        def term(self, game: Game, turn: Turn, *, name: str, number: int, step: int) -> Loss | None:
            return None

    betas = "generator_optimizer.betas=[0.5,{start: 0.75, end: 0.875, until: 2, shape: linear}]"
    tiny = build(AUTO, betas)
    tiny.bounds["own"] = Own()
    assert list(obstacles(tiny)) == [
        "generator_optimizer.betas changes while training",
        "regularizer.own has a `term` of its own, which may depend on the number of the turn",
    ]
    with pytest.warns(UserWarning, match="and slower: generator_optimizer.betas changes while training"):
        trace(tiny)
    assert not replays(tiny)
    with pytest.raises(UserError, match="engine.capture=true, but generator_optimizer.betas changes while training"):
        build("engine.capture=true", betas)
    assert list(obstacles(build(AUTO, FALLING, "regularizer.r1.every=2"))) == []


def test_optimizers_count_on_the_device_and_a_rate_that_changes_is_a_tensor_that_stays() -> None:
    tiny = build(AUTO, FALLING)
    Captured(tiny)
    discriminator, generator = (player.optimizer.param_groups[0] for player in tiny.players)
    assert discriminator["capturable"]
    assert discriminator["lr"] == 1e-3
    assert not isinstance(discriminator["lr"], Tensor)
    rate = generator["lr"]
    assert isinstance(rate, Tensor)
    tiny.players[1].set_schedules(7)
    assert generator["lr"] is rate
    assert rate.item() == pytest.approx(5e-4)
    assert tiny.players[1].rate == pytest.approx(5e-4)


def test_only_a_gpu_captures(experiment: Callable[..., Experiment]) -> None:
    assert not experiment(*TINY, AUTO).game.engine.captures
    with pytest.raises(UserError, match="engine.capture=true needs a GPU of NVIDIA: set engine.capture=auto"):
        experiment(*TINY, "engine.capture=true")
    with pytest.raises(UserError, match="engine.capture=sometimes must be one of auto, true, false"):
        config_of(["engine.capture=sometimes"])
    cuda = Engine(torch.device("cuda"), capture="auto")
    assert cuda.captures
    assert not cuda.at_rest.captures
    assert not replace(cuda, capture=False).captures


def test_streams_are_seeded_by_step_and_number() -> None:
    """The same key in the same state is one stream; outside of a step they follow the state as on any device."""
    streams = Streams()
    streams.begin(5)
    seeds = [streams.entered(*entrance) for entrance in (("a", "s"), ("b", "s"), ("a", "s"), ("a", "t"))]
    assert streams.order == [0, 1, 0, 2]
    assert seeds == [streams.seed_of(number) for number in streams.order]
    assert len({*seeds}) == 3
    streams.begin(6)
    assert streams.entered("a", "s") not in seeds
    assert streams.order == [0]


def test_a_recording_takes_the_generators_that_its_graph_knows() -> None:
    """Inside an entrance draws are those of the next generator, and after it those of the outer one again."""

    class Swapped:
        """The default generator of a GPU, as far as recording knows it."""

        def __init__(self) -> None:
            self.state: Any = "outer"

        def graphsafe_get_state(self) -> Any:
            return self.state

        def graphsafe_set_state(self, state: Any) -> None:
            self.state = state

    class OfGraph(Pretended):
        def random_generators(self) -> Any:
            return [default]

    default, streams = Swapped(), Streams()
    game = Game(nn.Identity(), nn.Identity(), build().game.objective, engine=OfGraph(streams=streams))
    seen = []
    known = [torch.Generator(), torch.Generator()]
    with streams.recording(known), game.random_stream("a"):
        seen.append(default.state)
        with game.random_stream("b"):
            seen.append(default.state)
        seen.append(default.state)
    assert [*seen, default.state] == [known[0], known[1], known[0], "outer"]
    assert streams.recorded is None


def test_an_iteration_reads_nothing_of_the_step_but_which_terms_are_due() -> None:
    """With the tensors of another step in place, an iteration that was told an old step makes what that step makes."""
    one, other = build(AUTO), build(AUTO)
    for tiny, told in ((one, 7), (other, 0)):
        iterate = Captured(tiny)
        tiny.game.engine.begin_step(0, 7)
        for dial in iterate.dials:
            dial.turn_to(7)
        with tiny.game.engine.training():
            iteration(tiny, told, gathered(tiny, 7), torch.tensor(0.5))
    for mine, theirs in zip(State(one).tensors, State(other).tensors, strict=True):
        assert torch.equal(mine, theirs)


GENERATOR = torch.Generator


class OfCuda:
    """The parts of torch.cuda that graphs and copies need, which note what is asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Any] = []
        self.stream = "outer"
        engine.graph_memory.cache_clear()
        monkeypatch.setattr(engine, "recording_stream", lambda device: "recording")
        for name in ("CUDAGraph", "graph", "graph_pool_handle", "current_stream", "set_stream", "device"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch, "Generator", self.generator)

    def generator(self, device: torch.device) -> torch.Generator:
        made = create_autospec(GENERATOR, instance=True)
        made.manual_seed.side_effect = lambda seed: self.asked.append(("seed", seed))
        return made

    def CUDAGraph(self) -> Any:
        return self

    def register_generator_state(self, generator: Any) -> None:
        self.asked.append("register")

    def replay(self) -> None:
        self.asked.append("replay")

    def graph_pool_handle(self) -> str:
        return "pool"

    def current_stream(self, device: torch.device) -> str:
        return self.stream

    def set_stream(self, stream: str) -> None:
        self.stream = stream

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        yield

    @contextmanager
    def graph(self, graph: Any, pool: str, stream: str, capture_error_mode: str) -> Iterator[None]:
        self.asked.append((pool, stream, capture_error_mode))
        self.stream = stream
        yield
        self.stream = "outer"


def test_what_is_asked_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generators are registered before and seeded at each replay; a recording that fails leaves no stream behind."""
    cuda, streams = OfCuda(monkeypatch), Streams()
    graph = engine.CudaGraph(torch.device("cuda"), streams, 2)
    assert cuda.asked == ["register", "register"]
    assert graph.record(lambda: list(streams.recorded or [])) == graph.generators
    assert cuda.asked[2:] == [("pool", "recording", "thread_local")]
    graph.replay([5, 6])
    assert cuda.asked[3:] == [("seed", 5), ("seed", 6), "replay"]

    def fail() -> None:
        assert cuda.stream == "recording"
        raise RuntimeError("not permitted")

    with pytest.raises(RuntimeError, match="not permitted"):
        graph.record(fail)
    assert cuda.stream == "outer"
    assert streams.recorded is None
