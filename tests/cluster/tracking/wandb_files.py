"""Offline W&B runs read back with the library's own reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def offline_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns by run id: config, group, job type, all history rows, final summary, and whether the run ended."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        records = _records(file)
        run = next(record["run"] for record in records if record["type"] == "run")
        summary: dict[str, Any] = {}
        for record in records:
            if record["type"] == "summary":
                summary |= record["summary"].get("update", {})
        found[run["run_id"]] = {
            "config": run["config"]["update"],
            "group": run.get("run_group"),
            "job_type": run.get("job_type"),
            "history": [record["history"]["item"] for record in records if record["type"] == "history"],
            "summary": summary,
            "ended": any(record["type"] == "exit" for record in records),
            "artifacts": [record for record in records if "artifact" in record["type"]],
        }
    return found


def _records(file: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
