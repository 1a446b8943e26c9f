"""What gan-export does with checked options: a generator that runs with torch alone, and its model card."""

import copy
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from gan_cli import __version__
from gan_cli.commands.card import CARD, CONFIG, PROGRAM, SAMPLES, TENSORS, card
from gan_cli.commands.out import free_folder, writing
from gan_cli.config.build import width_of
from gan_cli.config.nodes import PLACES, without
from gan_cli.data import encode
from gan_cli.engine import CPU, Engine
from gan_cli.errors import UserError, one_line
from gan_cli.files import atomic, write_json
from gan_cli.networks import is_conditional
from gan_cli.runs import pictures
from gan_cli.runs.folder import RunFolder
from gan_cli.runs.progress import showing_work
from gan_cli.runs.trained import Trained, open_trained, run_folder
from gan_cli.shapes import Latents, unlabelled
from gan_cli.text import printable
from gan_cli.work import doing

NUM_IMAGES, MOST_COLUMNS = 64, 16  # of the picture; it has a column for each class, if they are not more
TRIED = (1, 3, NUM_IMAGES)  # numbers of images with which the program is compared with the generator
NUM_TRACED = 5  # images; with 1, or as many as another size, torch takes the number for a constant
TOLERANCE = 1e-5  # of the largest number that the generator makes
OF_THE_CODE = ("stack_trace", "nn_module_stack", "source_fn_stack")  # what a graph says of the files that it comes from


def export(options: dict[str, Any]) -> None:
    """Writes the averaged generator into a new folder; nothing that is there is overwritten."""
    trained = open_trained(
        Path(options["checkpoint"]),
        options["which"],
        options["trust"],
        options["dataset"]["root"],
        Engine(CPU),
        options["ema"],
    )
    if not trained.gan.game.objective.generates:
        raise UserError(f"{options['checkpoint']} has no generator, it classifies: there is nothing to export")
    out = free_folder(options["out"] or str(Path(options["outputs"]) / "exports" / trained.name))
    exported = Exported(trained, as_used(trained.gan.ema_generator))
    with showing_work(), doing("tracing the generator"):
        try:
            program = exported.program()
        except Exception as error:  # the generator may be anyone's
            warnings.warn(
                f"torch cannot export {exported.name} as a program: {one_line(error)}; its tensors are written, and "
                f"{CARD} says what loads them",
                stacklevel=1,
            )
            program = b""
    with writing(out):
        write(out / TENSORS, save(tensors_of(exported.network), metadata={"format": "pt"}))
        if program:
            write(out / PROGRAM, program)
        exported.draw(out / SAMPLES)
        write_json(out / CONFIG, exported.config())
        text = card(printable(trained.name), exported.config(), exported.count, runs_alone=bool(program))
        write(out / CARD, text.encode())
    print(out)


def write(path: Path, content: bytes) -> None:
    with atomic(path) as partial:
        partial.write_bytes(content)


def as_used(generator: nn.Module) -> nn.Module:
    """A copy at rest, with weights in place of what they are computed from, such as spectral norm."""
    network = copy.deepcopy(generator).eval()
    for layer in list(network.modules()):
        if is_parametrized(layer):
            used = {name: getattr(layer, name).detach() for name in layer.parametrizations}  # type: ignore[union-attr]
            # remove_parametrizations would change the class, which the original shares.
            layer.__class__ = type_before_parametrizations(layer)
            del layer.parametrizations
            for name, value in used.items():
                layer.register_parameter(name, nn.Parameter(value))
    network.load_state_dict(tensors_of(network), assign=True)
    return network.requires_grad_(False)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, torch does not print the graph of a network that it cannot trace: what is wrong is said in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Its state, each tensor with memory of its own, as the format has it."""
    return {name: value.detach().clone().contiguous() for name, value in network.state_dict().items()}


@dataclass(frozen=True)
class Exported:
    """A trained run with its generator as it is written."""

    trained: Trained
    network: nn.Module

    @property
    def name(self) -> str:
        """Of the class inside what adds labels, as the config has it."""
        return str(self.trained.config["model"]["generator"]["_target_"])

    @property
    def num_classes(self) -> int:
        return self.trained.gan.class_law.num_classes

    @property
    def conditional(self) -> bool:
        return is_conditional(self.network)

    @property
    def columns(self) -> int:
        """Of the picture: with labels, each holds one class."""
        return self.num_classes if self.conditional and self.num_classes <= MOST_COLUMNS else math.isqrt(NUM_IMAGES)

    @property
    def count(self) -> int:
        return self.columns * math.isqrt(NUM_IMAGES)

    def latents(self, count: int) -> Latents:
        """Draws of the prior, as the card draws them: with labels, each class in turn."""
        codes = self.trained.gan.latent_sampler.innermost.sample(count, CPU)
        return Latents(codes, torch.arange(count) % self.num_classes if self.conditional else unlabelled(count))

    def given(self, count: int) -> tuple[Tensor, ...]:
        """What the generator is called with."""
        latents = self.latents(count)
        return (latents.codes, latents.labels) if self.conditional else (latents.codes,)

    def program(self) -> bytes:
        """The generator as torch.export saves it, for any number of images.

        Raises what torch does for a network that it cannot trace, and ValueError if what it saves makes other images.
        """
        batch = torch.export.Dim("batch", min=1)
        shapes = tuple({0: batch} for _ in self.given(NUM_TRACED))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            with quiet():
                traced = torch.export.export(self.network, self.given(NUM_TRACED), dynamic_shapes=shapes)
            for module in traced.graph_module.modules():
                for node in getattr(module, "graph", traced.graph).nodes:
                    for key in OF_THE_CODE:
                        node.meta.pop(key, None)
            saved = io.BytesIO()
            torch.export.save(traced, saved)
            saved.seek(0)
            loaded = torch.export.load(saved).module()
            loaded.load_state_dict(tensors_of(self.network))
            with self.trained.gan.at_rest() as game:
                for count in TRIED:
                    latents = self.latents(count)
                    expected = game.generate(latents).images
                    found = loaded(*((latents.codes, latents.labels) if self.conditional else (latents.codes,)))
                    apart = float((found - expected).abs().max())
                    if not apart <= TOLERANCE * max(1.0, float(expected.abs().max())):
                        raise ValueError(f"what it saves makes other images, {apart:.2g} apart")
        return saved.getvalue()

    def draw(self, path: Path) -> None:
        """The picture that the card's own lines make."""
        with torch.random.fork_rng(devices=[]), torch.no_grad(), self.trained.gan.at_rest() as game:
            torch.manual_seed(0)
            images = replace(game, generator=self.network).generate(self.latents(self.count)).images
        if pictures.are_points(self.trained.found.image_shape):
            pictures.save_points(path, images)
        else:
            pictures.save_grid(path, encode(images, self.trained.dataset.stored), self.columns)

    def config(self) -> dict[str, Any]:
        """config.json: what the tensors are, what they are given, and how they were trained and scored."""
        found, sampler, scores = self.trained.found, self.trained.gan.latent_sampler, self.scores()
        summary: Mapping[str, Any] = RunFolder(run_folder(found)).summary() or {}
        floor = summary.get("metrics", {}).get("floor", {})
        return {
            "made_by": {"gan_cli": __version__, "torch": str(torch.__version__)},
            "generator": self.name,
            "weights": self.trained.weights,
            "step": found.step,
            "checkpoint_sha256": found.state["sha256"],
            "latents": {
                "width": width_of(sampler, CPU),
                "law": type(sampler.innermost).__name__,
                "draw": self.draws(),
                "scored_after": type(sampler).__name__ if sampler.refines_evaluation else None,
            },
            "labels": {"class_counts": list(found.class_counts)} if self.conditional else None,
            "images": {
                "shape": list(found.image_shape),
                "values": "-1 to 1" if self.trained.dataset.stored == torch.uint8 else "coordinates",
            },
            "scores": scores,
            "real_against_real": {name: floor[name] for name in scores if name in floor},
            "protocol": summary.get("protocol", {}),
            "config": without(self.trained.config, PLACES),
        }

    def draws(self) -> str | None:
        """What draws codes in plain torch; None for a prior that does not say."""
        try:
            return self.trained.gan.latent_sampler.innermost.in_torch()
        except ValueError:
            return None

    def scores(self) -> dict[str, float]:
        """Of these weights, as the run has recorded them; none of an average that was made afterwards."""
        if self.trained.ema is not None:
            return {}
        records = RunFolder(run_folder(self.trained.found)).records()
        found = [
            record["metrics"] for record in records if record["step"] == self.trained.found.step and "metrics" in record
        ]
        return {printable(name): score for name, score in found[-1].items() if math.isfinite(score)} if found else {}
