import subprocess
import sys

import pytest

from cluster.processes import job, machine, start_time


def test_a_process_is_known_by_number_and_start():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_time(child.pid)
    assert started
    assert started == start_time(child.pid)
    child.kill()
    while start_time(child.pid) is not None:  # a process that nobody has waited for has ended too
        pass
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    assert start_time(child.pid) is None
    assert machine() == machine()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "12"}, "Slurm job 12"),
        (
            {"RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {}, "metadata": {"job_submission_id": "raysubmit_1"}}'},
            "Ray job raysubmit_1",
        ),
    ],
)
def test_the_schedulers_job_is_told(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("SLURM_JOB_ID", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert job() == expected
