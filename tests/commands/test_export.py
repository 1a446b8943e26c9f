"""gan-export: what is written runs without this package, makes the same images, and says what it is."""

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from markdown_it import MarkdownIt
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from gan_cli.commands.card import card
from gan_cli.commands.export import Exported, as_used
from gan_cli.engine import CPU, Engine
from gan_cli.latent_samplers.gaussian import Gaussian
from gan_cli.latent_samplers.latent_sampler import LatentSampler
from gan_cli.latent_samplers.truncated_gaussian import TruncatedGaussian
from gan_cli.latent_samplers.uniform import Uniform
from gan_cli.runs.trained import open_trained

from ..conftest import TINY, TINY_MLP, Command

RUN = ["steps=1", "device=cpu", "run_dir=run"]
DIGITS = ["dataset=digits", "num_eval_images=16"]
LABELS = ["generator_labels=shared_batch_norm", "discriminator_labels=projection"]
RECIPES = {  # every model that has a generator, and every way of giving it labels
    "mlp": ["model=mlp", *TINY_MLP, "dataset=ring", "latent_sampler=truncated_gaussian"],
    "mlp_maxout": ["experiment=fgan_mnist", *DIGITS, "dataset.image_size=28", "batch_size=4"],
    "shifted": ["experiment=distant_points", "batch_size=4", "num_eval_images=16"],
    "dcgan": [*TINY, "dataset=digits", "generator_labels=batch_norm", "discriminator_labels=projection"],
    "dcgan_classic": [
        "model=dcgan_classic",
        *TINY,
        "dataset=digits",
        "dataset.image_size=64",
        "latent_sampler=uniform",
    ],
    "cnn": ["model=cnn", *TINY, "dataset=digits", "dataset.image_size=32"],
    "resnet": ["model=resnet", *TINY, "dataset=digits", "dataset.image_size=32", "regularizer=generator_spectral_norm"],
    "cdcgan": ["model=cdcgan", *TINY, "dataset=digits", "dataset.image_size=32", "generator_labels=concat"],
    "biggan": ["experiment=biggan", *TINY],
    "stylegan2": [
        "experiment=stylegan2",
        *TINY,
        "generator_labels=embedding",
        "discriminator_labels=inner_product",
    ],
    "r3gan": ["experiment=r3gan", "batch_size=4", "num_eval_images=16"],
}
ALONE = """
import sys
sys.modules["gan_cli"] = None  # an import of it fails
code = open("README.md").read().split("```python\\n")[1].split("```")[0]
exec(code)
torch.save(images, "made.pt")
assert not [name for name in sys.modules if name.startswith("gan_cli.")]
assert not {"hydra", "omegaconf", "torchvision"} & set(sys.modules)
"""


@pytest.mark.parametrize(
    "prior",
    [
        Gaussian(latent_dim=3),
        Uniform(latent_dim=3),
        TruncatedGaussian(latent_dim=3, threshold=0.5),
        TruncatedGaussian(latent_dim=3, threshold=2.0),
    ],
)
def test_a_prior_in_plain_torch_draws_the_same_codes(prior: LatentSampler) -> None:
    torch.manual_seed(1)
    expected = prior.sample(1000, CPU)
    torch.manual_seed(1)
    assert torch.equal(eval(prior.in_torch(), {"torch": torch, "count": 1000}), expected)


def facts(**changes: Any) -> dict[str, Any]:
    """config.json of an export, as far as the card reads it."""
    return {
        "made_by": {"gan_cli": "1", "torch": "2.14"},
        "generator": "mine.nets.Generator",
        "weights": "moving average",
        "step": 7,
        "latents": {"width": 5, "law": "Sphere", "draw": None, "scored_after": "AdvLatZ"},
        "labels": {"class_counts": [3, 4]},
        "images": {"shape": [1, 8, 8], "values": "-1 to 1"},
        "scores": {"fid": 1.25, "recall": 0.5},
        "real_against_real": {"fid": 0.5},
        "protocol": {"dataset": "digits", "num_fake": 16},
        "config": {"objective": {"_target_": "gan_cli.objectives.hinge.Hinge"}, "steps": 7},
    } | changes


def test_the_card_says_what_is_not_exported_and_where_the_law_is() -> None:
    text = card("run", facts(), 16, runs_alone=True)
    assert "labels = torch.arange(count) % 2" in text
    assert "`codes`, [16, 5], are draws of `Sphere`, whose law only that class says." in text
    assert "AdvLatZ, which refines latents with the discriminator, is not exported" in text
    assert "| fid | 1.25 | 0.5 |\n| recall | 0.5 | - |" in text
    head = yaml.safe_load(text.split("---\n")[1])
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "fid", "value": 1.25}, {"type": "recall", "value": 0.5}]
    alone = card("run", facts(scores={}), 16, runs_alone=False)
    assert "generator.pt2" not in alone
    assert "torch cannot export this generator as a program" in alone
    assert "These weights have not been scored." in alone
    assert "model-index" not in alone


def test_nothing_in_a_run_is_markup_in_its_card() -> None:
    hostile = "x\n```\n# taken <script>alert(1)</script> [a](http://b) | c"
    config = {"objective": {"_target_": hostile}, "note": hostile}
    text = card(hostile, facts(protocol={"dataset": hostile}, config=config), 4, runs_alone=True)
    body = text.split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    headings = [after.content for token, after in zip(tokens, tokens[1:], strict=False) if token.type == "heading_open"]
    assert len(headings) == 5
    inline = [child.type for token in tokens for child in token.children or []]
    assert "link_open" not in inline
    assert "html_inline" not in inline
    assert [token.content.strip() for token in tokens if token.type == "html_block"] == [
        "<details><summary>The config of the run, without the places of files</summary>",
        "</details>",
    ]


class Looping(nn.Module):
    """Nothing that can be traced: its loop depends on what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        for _ in range(int(codes.norm()) % 3):
            codes = self.layer(codes)
        return codes[:, :, None, None]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:regularizer")  # of penalties that are due in later steps
@pytest.mark.parametrize("name", RECIPES)
def test_every_generator_runs_without_the_package(name: str, command: Command) -> None:
    code, _, err = command("train", *RECIPES[name], *RUN)
    assert code == 0, err
    code, out, err = command("export", "run")
    assert (code, out, err) == (0, "outputs/exports/run-step-1\n", "")
    folder = Path(out.strip())
    names = ["README.md", "config.json", "generator.pt2", "model.safetensors", "samples.png"]
    assert sorted(file.name for file in folder.iterdir()) == names
    subprocess.run([sys.executable, "-c", ALONE], cwd=folder, check=True)
    made = torch.load(folder / "made.pt")
    trained = open_trained(Path("run"), "latest", [], None, Engine(CPU))
    exported = Exported(trained, as_used(trained.gan.ema_generator))
    torch.manual_seed(0)
    latents = exported.latents(exported.count)
    with trained.gan.at_rest() as game, torch.no_grad():
        torch.testing.assert_close(made, game.generate(latents).images, rtol=1e-5, atol=1e-5)
    config = json.loads((folder / "config.json").read_text())
    assert list(made.shape[1:]) == config["images"]["shape"]
    assert config["scores"].keys() == json.loads(Path("run/summary.json").read_text())["metrics"]["last"].keys()
    assert config["protocol"]["num_fake"] == 16
    assert "root" not in config["config"]["dataset"]
    place = str(Path(__file__).parents[2]).encode()
    with zipfile.ZipFile(folder / "generator.pt2") as archive:
        assert not [one for one in archive.namelist() if place in archive.read(one)], "it tells where the code lies"
    with Image.open(folder / "samples.png") as picture:
        assert picture.width > 100
    code, _, err = command("export", "run")
    assert (code, "exists and is not an empty folder: choose another with out=<folder>" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:ema=0.2 is rebuilt from few snapshots")
def test_the_best_and_a_rebuilt_average_are_exported_and_a_classifier_is_refused(command: Command) -> None:
    run = ["run_dir=run", "device=cpu", *TINY, "dataset=digits", "latent_sampler=advlat_z", "latent_sampler.steps=1"]
    command("train", *run, "steps=4", "evaluate_every=1", "checkpoint_every=1", "ema_snapshots_every=1")
    best = json.loads(Path("run/summary.json").read_text())["metrics"]["best_step"]
    assert command("export", "run", "which=best", "out=best")[0] == 0
    config = json.loads(Path("best/config.json").read_text())
    assert config["step"] == best
    assert config["latents"]["scored_after"] == "AdvLatZ"
    assert "AdvLatZ, which refines latents" in Path("best/README.md").read_text()
    code, out, err = command("export", "run", "ema=0.2")
    assert code == 0, err
    assert "-ema-0.2" in out
    other = json.loads((Path(out.strip()) / "config.json").read_text())
    assert other["scores"] == {}
    assert "0.2" in other["weights"]
    kept = {file.name: file.read_bytes() for file in Path("best").iterdir()}
    assert command("export", "run", "out=best")[0] == 2
    assert {file.name: file.read_bytes() for file in Path("best").iterdir()} == kept
    command("train", "experiment=classifier", "batch_size=4", "labelled_batch_size=6", "steps=1", "run_dir=classifier")
    code, _, err = command("export", "classifier")
    assert (code, err) == (2, "gan-export: classifier has no generator, it classifies: there is nothing to export\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("always:torch cannot export")
def test_what_torch_cannot_trace_is_written_as_tensors(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command("train", "model=mlp", *TINY_MLP, "dataset=ring", *RUN)
    looping = Looping()
    monkeypatch.setattr("gan_cli.commands.export.open_trained", lambda *_: traced(looping))
    code, out, err = command("export", "run", "out=made")
    assert (code, out) == (0, "made\n"), err
    assert err.startswith(
        "gan-export: warning: torch cannot export gan_cli.models.mlp.Generator as a program: Could not"
    )
    assert err.endswith("; its tensors are written, and README.md says what loads them\n")
    assert err.count("\n") == 1
    assert sorted(file.name for file in Path("made").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "samples.png",
    ]
    text = Path("made/README.md").read_text()
    assert re.search(r"load_state_dict\(load_file", text)
    assert "torch.export" not in text
    looping.load_state_dict(load_file("made/model.safetensors"))


def traced(network: nn.Module) -> Any:
    """The run with another generator, of two coordinates."""
    trained = open_trained(Path("run"), "latest", [], None, Engine(CPU))
    gan = replace(trained.gan, ema_generator=network, latent_sampler=Gaussian(latent_dim=2))
    return replace(trained, gan=gan)
