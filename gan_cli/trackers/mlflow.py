"""MLflow: a local database, or the server that its own variable MLFLOW_TRACKING_URI names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from gan_cli.trackers.tracker import Tracked, Tracker, flat, outcome

MOST_PARAMS = 100  # in one call
MOST_LETTERS = 500  # of one parameter
STATUS = {"completed": "FINISHED", "interrupted": "KILLED"}  # else FAILED


@dataclass(kw_only=True)
class MLflow(Tracker):
    package = "mlflow"
    uri: str | None
    experiment: str
    client: Any = field(init=False, repr=False)
    run_id: str = field(init=False, repr=False)

    def start(self, run: Tracked) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=self.uri)
        known = self.client.get_experiment_by_name(self.experiment)
        experiment = known.experiment_id if known is not None else self.client.create_experiment(self.experiment)
        found = self.client.search_runs([experiment], filter_string=f"tags.gan_cli_id = '{run.id}'", max_results=1)
        if found:  # MLflow chooses ids itself
            self.run_id = found[0].info.run_id
            self.client.update_run(self.run_id, status="RUNNING")
            return
        tags = {"gan_cli_id": run.id} | ({"sweep": run.group} if run.group is not None else {})
        self.run_id = self.client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        self.log_params(run.config)
        self.client.log_dict(self.run_id, dict(run.config), "config.json")

    def log_params(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)[:MOST_LETTERS]) for key, value in flat(config, separator=".")]
        for first in range(0, len(params), MOST_PARAMS):
            self.client.log_batch(self.run_id, params=params[first : first + MOST_PARAMS])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time())
        self.client.log_batch(self.run_id, [Metric(name, value, now, step) for name, value in values.items()])

    def log_image(self, step: int, name: str, picture: Path) -> None:
        self.client.log_artifact(self.run_id, str(picture), name)

    def finish(self, summary: Mapping[str, Any]) -> None:
        for key, value in outcome(summary).items():
            self.client.set_tag(self.run_id, key, str(value)[:MOST_LETTERS])
        self.client.log_dict(self.run_id, dict(summary), "summary.json")
        self.client.set_terminated(self.run_id, STATUS.get(summary["status"], "FAILED"))
