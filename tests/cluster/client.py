"""Run by the thin client's own Python: the SDK against the cluster. Prints one JSON object.

python client.py ADDRESS EXPERIMENT SECONDS
"""

import collections
import importlib.util
import json
import sys
import time

import iplab

HEAVY = ("torch", "ray", "mlflow", "sqlalchemy", "boto3")

address, name, seconds = sys.argv[1:]
with iplab.connect(address) as client:
    experiment = client.experiment(name)
    deadline = time.monotonic() + float(seconds)
    begin = time.monotonic()
    while experiment.refresh().mlflow_pending_runs and time.monotonic() < deadline:
        time.sleep(0.2)
    mlflow_seconds = time.monotonic() - begin
    metrics = experiment.metrics()
    points: dict[int, dict[str, int]] = collections.defaultdict(dict)
    for index, metric in enumerate(metrics.names):
        counts = collections.Counter(metrics.run[metrics.metric == index].tolist())
        for run_index, count in counts.items():
            points[run_index][metric] = count
    begin = time.monotonic()
    runs = {}
    for run in experiment.runs():
        artifact = run.weights_artifact("final")
        # `weights` verifies the checksum that the service committed, and raises if it differs.
        weights = run.weights()
        runs[run.id] = {
            "index": run.index,
            "state": str(run.state),
            "mlflow_run_id": run.mlflow_run_id,
            "path": artifact.path,
            "sha256": artifact.sha256,
            "arrays": len(weights.arrays),
            "points": points[run.index],
        }

facts = {
    "runs": runs,
    "pending": experiment.mlflow_pending_runs,
    "mlflow_seconds": mlflow_seconds,
    "weights_seconds": time.monotonic() - begin,
    "heavy": [name for name in HEAVY if importlib.util.find_spec(name)],
}
print(json.dumps(facts))
