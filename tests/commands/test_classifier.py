"""A run without a generator from its first step to its scores: resumed bitwise, evaluated again, never sampled."""

import json
from pathlib import Path

import pytest

from ..conftest import A_CLASSIFIER, Command
from ..pairwise import every_third_quick

RUN = [*A_CLASSIFIER, "dataset.num_labelled=20", "device=cpu", "evaluate_every=2", "checkpoint_every=2"]
VAT = ["regularizer=[vat,entropy_minimisation]", "regularizer.vat.images=real"]


def records(run: str) -> list[dict[str, object]]:
    timed = {"seconds", "scoring_seconds"}
    lines = Path(run, "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in timed} for line in lines]


@pytest.mark.slow
def test_a_classifier_is_continued_evaluated_and_not_sampled(command: Command) -> None:
    assert command("train", *RUN, *VAT, "steps=4", "run_dir=whole")[0] == 0
    assert command("train", *RUN, *VAT, "steps=2", "run_dir=part")[0] == 0
    assert command("train", "resume=part", "steps=4", "device=cpu")[0] == 0
    last = [Path(run, "checkpoints", "step-00000004", "state.safetensors").read_bytes() for run in ("whole", "part")]
    assert last[0] == last[1]
    metrics = [record for record in records("whole") if "metrics" in record]
    assert metrics == [record for record in records("part") if "metrics" in record]

    summary = json.loads(Path("whole", "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["metrics"]["leading"] == "test_error"
    assert summary["metrics"]["floor"] == {}
    assert summary["protocol"]["num_test"] == 797
    assert "num_fake" not in summary["protocol"]
    assert set(summary["parameters"]) == {"discriminator"}
    assert Path("whole", "samples", "00000004.png").is_file()
    assert Path("whole", "curves.png").is_file()
    assert "NaN" not in Path("whole", "summary.json").read_text()

    code, out, _ = command("eval", "checkpoint=whole", "out=scored", "device=cpu")
    assert code == 0
    result = json.loads(out)
    assert result["metrics"] == metrics[-1]["metrics"]
    assert result["protocol"] == summary["protocol"]
    assert Path("scored", "confusion.png").is_file()

    for name in ("eval", "sample"):
        sampler = ["latent_sampler=advlat_z"] if name == "eval" else []
        code, _, err = command(name, "checkpoint=whole", "device=cpu", *sampler)
        assert code == 2
        assert "has no generator" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    every_third_quick(
        [
            (
                ["metrics@dataset.metrics=digits"],
                "scores generated images, and Classification has no generator",
            ),
            (["dataset.num_held_out=0"], "no held-out images: set dataset.num_held_out"),
            (["model=dcgan", "model.discriminator.width=4"], "Classification trains no generator"),
            (["regularizer=mode_seeking"], "regularizer.mode_seeking is of the generator, and the run trains none"),
            (["regularizer=r2"], "regularizer.r2: it reads generated images, and Classification has no generator"),
            (["dataset.num_labelled=5"], "dataset.num_labelled=5 must be at least 10"),
            (["model=dcgan", "objective=hinge", "labelled_batch_size=null"], "test_error reads class logits"),
        ]
    ),
    ids=lambda value: str(value)[:40],
)
def test_what_a_classifier_cannot_do_is_one_line(command: Command, overrides: list[str], message: str) -> None:
    code, _, err = command("train", *A_CLASSIFIER, "device=cpu", "run_dir=run", *overrides)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not Path("run").exists()
