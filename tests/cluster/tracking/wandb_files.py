"""Offline W&B runs read back with the library's own reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def offline_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns by run id: config, project, group, job type, history, final summary, and whether the run ended."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        entries = records(file)
        run = next(record["run"] for record in entries if record["type"] == "run")
        summary: dict[str, Any] = {}
        for record in entries:
            if record["type"] == "summary":
                summary |= record["summary"].get("update", {})
        metrics = [entry["metric"] for entry in entries if entry["type"] == "metric"]
        found[run["run_id"]] = {
            "config": run["config"]["update"],
            "project": run.get("project"),
            "group": run.get("run_group"),
            "job_type": run.get("job_type"),
            "history": [record["history"]["item"] for record in entries if record["type"] == "history"],
            "summary": summary,
            "axes": {metric["glob_name"]: metric["step_metric"] for metric in metrics if metric.get("step_metric")},
            "ended": any(record["type"] == "exit" for record in entries),
            "artifacts": [record for record in entries if "artifact" in record["type"]],
        }
    return found


def records(file: Path) -> list[dict[str, Any]]:
    """Returns all records of a file."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
