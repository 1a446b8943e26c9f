"""Each tracker with its own package, on this machine alone: what it stores is read back."""

import inspect
import json
import os
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_class

from gan_cli.config.compose import CONF
from gan_cli.runs.run import Run
from gan_cli.trackers import Tracker
from gan_cli.trackers.tracker import flat, numbers, outcome

from ..conftest import Command, composed_config, tiny_data

CHOICES = sorted({file.stem for file in (CONF / "tracker").glob("*.yaml")} - {"none"})
POINTS = ["model=mlp", *tiny_data("mlp"), "device=cpu", "steps=6", "run_dir=sweep/mine"]
RUN = [*POINTS, "log_every=1", "sample_every=3", "evaluate_every=3", "checkpoint_every=2", "num_eval_images=20"]

slow = pytest.mark.slow
own_warnings = pytest.mark.filterwarnings("default")  # of the packages


@pytest.mark.parametrize("choice", CHOICES)
def test_a_yaml_names_its_trackers_settings_and_no_other_file_does(choice: str) -> None:
    (name, node), *others = composed_config(f"tracker={choice}").tracker.items()
    assert (name, others) == (choice, [])
    target: Any = get_class(node["_target_"])
    assert issubclass(target, Tracker)
    assert target.__module__ == f"gan_cli.trackers.{choice}"
    assert target.package == choice
    parameters = inspect.signature(target).parameters
    assert {key for key in node if key != "_target_"} == set(parameters)
    assert all(parameter.default is inspect.Parameter.empty for parameter in parameters.values())


def test_several_trackers_compose_and_none_is_none() -> None:
    assert list(composed_config("tracker=[tensorboard,wandb]").tracker) == ["tensorboard", "wandb"]
    assert composed_config("tracker=none").tracker == composed_config().tracker == {}


def test_names_of_values() -> None:
    record = {"losses": {"generator": {"adversarial": 1.0}}, "spread": 2, "lost": "collapsed"}
    assert numbers(record) == {"losses/generator/adversarial": 1.0, "spread": 2.0}
    assert dict(flat({"a": {"b": [1]}, "c": None}, separator=".")) == {"a.b": [1], "c": None}
    metrics = {"last": {"fid": 2.0}, "best": {"fid": 1.0}, "floor": {}, "trajectory": {}}
    ended = {"status": "failed", "step": 3, "error": "why", "metrics": metrics, "cost": {"seconds": 5.0}, "config": {}}
    said = {"status": "failed", "step": 3, "error": "why"}
    assert outcome(ended) == said | {"last/fid": 2.0, "best/fid": 1.0, "cost/seconds": 5.0}


@pytest.fixture
def killed_and_resumed(command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[dict[str, Any]]]:
    """Trains with a tracker in two processes, as part of a sweep; returns the records."""

    def train(tracker: str) -> list[dict[str, Any]]:
        if find_spec(tracker) is None:
            pytest.skip(f"{tracker} is not installed")
        Path("sweep").mkdir()
        Path("sweep/sweep.json").write_text("{}")
        report = Run.report

        def killed(self: Run, *what: Any) -> None:
            report(self, *what)
            if self.step == 5:
                raise SystemExit(9)

        with monkeypatch.context() as patched:
            patched.setattr(Run, "report", killed)
            command("train", *RUN, f"tracker={tracker}")
        code, _, err = command("train", "resume=sweep/mine", "device=cpu")
        assert code == 0
        assert "left out" not in err
        return [json.loads(line) for line in Path("sweep/mine/metrics.jsonl").read_text().splitlines()]

    return train


def expected(records: list[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    found = [(record["step"], numbers(record)) for record in records]
    return [(step, values[key]) for step, values in found if key in values]


BLOCK = 32_768  # bytes, of a file of W&B
KEYS = ("losses/generator/adversarial", "rates/generator", "gradient_norms/discriminator", "metrics/mode_kl")


@slow
@own_warnings
def test_tensorboards_event_files(killed_and_resumed: Callable[[str], list[dict[str, Any]]]) -> None:
    records = killed_and_resumed("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator("sweep/mine/tensorboard", size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    for key in KEYS:
        stored = [(event.step, event.value) for event in events.Scalars(key)]
        assert stored == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected(records, key)]
    assert [image.step for image in events.Images("samples")] == [3, 6]
    assert all(image.encoded_image_string[1:4] == b"PNG" for image in events.Images("samples"))
    (config,) = events.Tensors("config/text_summary")
    assert b'"latent_dim"' in config.tensor_proto.string_val[0]
    summaries = events.Tensors("summary/text_summary")
    assert b'"status": "completed"' in summaries[-1].tensor_proto.string_val[0]


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records in a file of W&B: LevelDB's format of logs, after a header of 7 bytes."""
    place, whole = 7, b""
    while place < len(content):
        if BLOCK - place % BLOCK < 7:  # too short for a header: padding
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)  # kind: whole, first, middle, last
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


@slow
@own_warnings
def test_weights_and_biases_offline(
    killed_and_resumed: Callable[[str], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    records = killed_and_resumed("wandb")
    files = sorted(Path("sweep/mine/wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1  # the same run, twice
    messages: Any = import_module("wandb.proto.wandb_internal_pb2")
    stored: list[dict[str, Any]] = []
    runs: list[Any] = []
    summary: dict[str, str] = {}
    for file in files:
        for data in wandb_records(file.read_bytes()):
            record = messages.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                items = record.history.item
                stored.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
            elif kind == "run":
                runs.append(record.run)
            elif kind == "summary":
                summary |= {item.key or "/".join(item.nested_key): item.value_json for item in record.summary.update}
    for key in KEYS:
        assert [(row["step"], row[key]) for row in stored if key in row] == expected(records, key)
    pictures = [row for row in stored if any(key.split("/")[0] == "samples" for key in row)]
    assert [row["step"] for row in pictures] == [3, 6]
    assert {(run.display_name, run.run_group, run.project) for run in runs} == {("mine", "sweep", "gan-cli")}
    assert runs[0].run_id.startswith("mine-")
    assert "completed" in summary["status"]


@slow
@own_warnings
def test_mlflow_with_a_local_database(
    killed_and_resumed: Callable[[str], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/mlflow.db")
    records = killed_and_resumed("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("gan-cli")
    (run,) = client.search_runs([experiment.experiment_id])
    for key in KEYS:
        history = client.get_metric_history(run.info.run_id, key)
        assert [(metric.step, metric.value) for metric in history] == expected(records, key)
    assert (run.info.run_name, run.info.status, run.data.tags["sweep"]) == ("mine", "FINISHED", "sweep")
    assert run.data.params["generator_optimizer.lr"] == "0.001"
    assert run.data.tags["status"] == "completed"
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "samples")]
    assert pictures == ["samples/00000003.png", "samples/00000006.png"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"config.json", "summary.json"}


@slow
@own_warnings
def test_trackio_with_a_local_database(
    killed_and_resumed: Callable[[str], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(Path("trackio").absolute()))
    records = killed_and_resumed("trackio")
    (file,) = Path("trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        rows = [
            (name, step, json.loads(values))
            for name, step, values in database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id")
        ]
    assert len({name for name, _, _ in rows}) == 1
    for key in KEYS:
        assert [(step, values[key]) for _, step, values in rows if key in values] == expected(records, key)
    assert [step for _, step, values in rows if "samples" in values] == [3, 6]
    assert [values["status"] for _, _, values in rows if "status" in values][-1] == "completed"


def test_no_package_is_imported_before_a_run_starts() -> None:
    import gan_cli.trackers.mlflow
    import gan_cli.trackers.tensorboard
    import gan_cli.trackers.trackio
    import gan_cli.trackers.wandb  # noqa: F401

    for choice in CHOICES:
        module = sys.modules[f"gan_cli.trackers.{choice}"]
        assert not any(getattr(value, "__name__", "") == choice for value in vars(module).values())
