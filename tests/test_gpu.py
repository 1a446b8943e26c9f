"""What only a GPU can show: graphs of whole steps, their random streams, precision, and evaluation on the device."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from gan_cli.capture import State
from gan_cli.config.build import build_experiment
from gan_cli.config.read import config_of
from gan_cli.engine import Engine, EngineSettings, choose_engine
from gan_cli.evaluation import generate
from gan_cli.experiment import Experiment
from gan_cli.feed import Feed, gathered
from gan_cli.game import Game
from gan_cli.objectives import Wasserstein
from gan_cli.runs.folder import RunFolder
from gan_cli.trainer import train
from tests.together import ended, started

from .conftest import TINY
from .test_capture import CASES, trace

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
MORE = {
    "spectral norm of a residual network": ["model=resnet", "dataset.image_size=32", "regularizer=spectral_norm"],
    "another optimizer": ["experiment=rmsprop"],
    "bfloat16": ["engine.precision=bfloat16", "regularizer=gradient_penalty"],
    "tf32": ["engine.precision=tf32"],
    "a search for pairs": ["latent_sampler=advlat_div", "latent_sampler.steps=2", "regularizer=[r1,mode_seeking]"],
    "labels": ["conditioning=projection"],
}


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")
def test_one_run_on_two_gpus(tmp_path: Path) -> None:
    """Over NCCL, also batch norm over both; the run then continues on one."""
    given = ("batch_size=8", "evaluate_every=0", "checkpoint_every=2", f"run_dir={tmp_path}", "steps=4", "device=cuda")
    command = ("-m", "gan_cli", "train", "engine.sync_batch_norm=true", "regularizer=r1", *given)
    for count, more in ((2, ("pause_at=2",)), (1, ())):
        outcomes = ended(started(count, *command, *more))
        assert [status for status, _ in outcomes] == [0] * count, outcomes
    assert (RunFolder(tmp_path).summary() or {})["status"] == "completed"


@pytest.fixture(autouse=True)
def the_same_kernels() -> Iterator[None]:
    """Convolutions whose sums are in one order, so that runs can be compared over steps."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


def build(*overrides: str) -> Experiment:
    return build_experiment(config_of([*TINY, "steps=14", *overrides]), choose_engine("cuda"))


@pytest.mark.parametrize("case", [*CASES, *MORE])
def test_captured_steps_are_eager_ones(case: str) -> None:
    """`true` ends a run whose captured steps differ; eager and captured runs stay close over all steps."""
    overrides = (CASES | MORE)[case]
    captured, eager = build(*overrides, "engine.capture=true"), build(*overrides, "engine.capture=false")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, expected = trace(captured), trace(eager)
    assert found == [pytest.approx(losses, rel=0.05, abs=0.05) for losses in expected]
    assert all(tensor.isfinite().all() for tensor in State(captured).tensors)


def draws(game: Game) -> Tensor:
    """Draws of the step itself, of a stream, of a stream in it, of the first stream again, and of the step."""
    device, found = game.engine.device, []
    for _ in range(2):
        found.append(torch.randn(5, device=device))
        for _ in range(2):
            with game.random_stream("outer"):
                found.append(torch.randn(5, device=device))
                with game.random_stream("inner"):
                    found.append(torch.rand(5, device=device))
                found.append(torch.randn(5, device=device))
    return torch.stack(found)


def test_a_graph_draws_what_eager_steps_draw() -> None:
    """To the last bit, of the present step, also in the separate streams; the same stream twice draws the same."""
    engine = choose_engine("cuda").with_settings(
        EngineSettings(precision="float32", compile=False, capture="auto", sync_batch_norm=False)
    )
    game = Game(nn.Identity(), nn.Identity(), Wasserstein(), engine=engine)
    assert engine.streams is not None
    expected = []
    for step in range(3):
        with engine.training():
            engine.begin_step(0, step)
            expected.append(draws(game))
            order = list(engine.streams.order)
    assert torch.equal(expected[0][1:4], expected[0][4:7])
    assert not torch.equal(expected[0][1:4], expected[0][8:11])
    graph = engine.graph(len(order))
    with engine.training():
        engine.begin_step(0, 7)
        made = graph.record(lambda: draws(game))
        for step in (1, 2, 0):
            engine.begin_step(0, step)
            graph.replay([engine.streams.seed_of(number) for number in order])
            assert torch.equal(made, expected[step])


def error_of_a_convolution() -> float:
    generator = torch.Generator("cuda").manual_seed(0)
    images, weight = (
        torch.randn(size, generator=generator, device="cuda") for size in ((8, 64, 16, 16), (64, 64, 3, 3))
    )
    exact = conv2d(images.double(), weight.double())
    return ((conv2d(images, weight) - exact).norm() / exact.norm()).item()


def test_only_training_in_tf32_rounds_factors() -> None:
    engine = choose_engine("cuda").with_settings(
        EngineSettings(precision="tf32", compile=False, capture=False, sync_batch_norm=False)
    )
    assert error_of_a_convolution() < 1e-5
    with engine.training():
        assert 1e-5 < error_of_a_convolution() < 1e-2
    assert error_of_a_convolution() < 1e-5


def test_data_that_does_not_fit_is_copied_beside_the_work() -> None:
    """In the same order as data on the device; only where it lies is another."""
    fits, large = (build("engine.capture=true", "discriminator_steps=2") for _ in range(2))
    stored = large.training_set
    on_host = replace(stored, values=stored.values.cpu(), labels=stored.labels.cpu())
    large = replace(large, training_set=on_host)
    assert large.game.engine.feeds_ahead(on_host.values.device)
    feed = Feed(large)
    for step in range(3):
        fed, expected = feed(step), gathered(fits, step)
        assert torch.equal(fed.values, expected.values)
        assert torch.equal(fed.labels, expected.labels)
        feed.prepare(step + 1)
    assert trace(large) == [pytest.approx(losses, rel=0.05, abs=0.05) for losses in trace(fits)]


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_lower_precision_stays_close_to_single(precision: str) -> None:
    single, low = (
        trace(build("batch_size=16", "steps=3", f"engine.precision={word}")) for word in ("float32", precision)
    )
    assert low == [pytest.approx(losses, rel=0.1, abs=0.05) for losses in single]
    assert low != single


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("capture", ["true", "false"])
def test_compiled_networks_compute_the_same(capture: str) -> None:
    settings = ["batch_size=16", "steps=10", "regularizer=gradient_penalty", f"engine.capture={capture}"]
    compiled, plain = build(*settings, "engine.compile=true"), build(*settings)
    networks = compiled.game.compiled
    assert networks is not None
    assert networks.generator is not compiled.game.generator
    assert trace(compiled) == [pytest.approx(losses, rel=0.05, abs=0.05) for losses in trace(plain)]


def test_images_are_made_and_kept_on_the_device(experiment: Callable[..., Experiment]) -> None:
    """They are those that a CPU makes of the same draws, up to rounding; draws of a GPU are its own."""
    tiny = build("engine.capture=false")
    made = generate(tiny.gan, 300, 0, None, tiny.dataset.stored)
    assert made.values.device.type == "cuda"
    there = experiment(*TINY).gan
    there.ema_generator.load_state_dict(tiny.gan.ema_generator.state_dict())
    images = there.ema_generator(made.refined.codes).detach()
    difference = (images.add(1).mul(127.5) - made.values.cpu().float()).abs()
    assert difference.max() <= 0.51


def test_a_run_goes_on_in_graphs_from_a_state_that_is_copied_into_it() -> None:
    """Also counters of optimizers, which are on the device while steps are captured."""
    falling = "generator_optimizer.lr={start: 1e-3, end: 0.0, until: 14, shape: linear}"
    whole, first, second = (build(falling, "engine.capture=true") for _ in range(3))
    expected = trace(whole)
    steps = train(first)
    for _ in range(4):
        next(steps)
    for name, part in second.parts().items():
        part.load_state_dict(first.parts()[name].state_dict())
    found = [sum(loss.item() for terms in step.losses.values() for loss in terms.values()) for step in train(second, 4)]
    assert found == pytest.approx(
        [sum(losses.values()) - losses["number"] for losses in expected[4:]], rel=0.05, abs=0.05
    )


def test_the_engine_says_what_the_device_is() -> None:
    engine: Engine = choose_engine("cuda")
    assert engine.gpu_name()
    assert engine.holds(1)
    assert not engine.holds(2**60)
    torch.zeros(2**20, device="cuda")
    assert engine.peak_memory() >= 4 * 2**20
    copy = engine.copy_to_host(torch.arange(4, device="cuda"))
    torch.cuda.synchronize()
    assert copy.has_arrived()
    assert copy.values.tolist() == [0, 1, 2, 3]
