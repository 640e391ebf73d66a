import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.config import load_cluster_config
from cluster.environment import DEFAULTS, connect, prepare, train_variables
from ecul.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]
SILENT = "127.0.0.1:9"  # nobody listens on the port for discarding
START = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
HEALTH = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"


def test_a_training_in_another_process_gets_trains_own_variables_alone():
    variables = train_variables(load_cluster_config(None, {"health_check_interval_s": 0.5, "start_timeout_s": 30}))
    assert variables[HEALTH] == "0.5"
    assert variables[START] == "30"
    assert variables["RAY_TRAIN_ENABLE_PRINT_PATCH"] == DEFAULTS["RAY_TRAIN_ENABLE_PRINT_PATCH"]
    # how to join the cluster is the node's business
    assert all(name.startswith("RAY_TRAIN_") for name in variables)


def test_the_train_tab_is_filled_unless_it_is_turned_off():
    name = "RAY_TRAIN_ENABLE_STATE_TRACKING"
    for setting, expected in ((None, "1"), (True, "1"), (False, "0")):
        variables = train_variables(load_cluster_config(None, {"train_tab": setting}))
        assert variables[name] == expected


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        ({}, None, "60"),
        ({}, "45", "45"),
        ({"start_timeout_s": 30}, None, "30"),
        ({"start_timeout_s": 30}, "45", "30"),
        ({"start_timeout_s": 60}, "45", "60"),
        ({"num_workers": 2}, "45", "45"),
    ],
)
def test_a_setting_wins_over_the_environment_and_that_over_a_default(
    settings: dict[str, object], before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(START, raising=False)
    if before is not None:
        monkeypatch.setenv(START, before)
    # as the command does: from the file, with the options on top
    cluster = load_cluster_config(None, settings).updated({"clustering.borrow": True})
    prepare(cluster=cluster)
    assert os.environ[START] == after


COMMANDS = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for room in ("cluster", "tune")
    for path in sorted((REPOSITORY / room).glob("*.py"))
    if "__main__" in path.read_text()
]
assert {"cluster.train", "cluster.submit", "tune.run", "tune.repeat"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_imports_ray_before_it_has_prepared_the_environment(command: str):
    asked = f"import sys, {command}; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", asked], check=True, cwd=REPOSITORY)


def test_a_command_that_prepares_too_late_is_told():
    # the mode of authentication is read once, and without it the own cluster refuses its driver
    late = "import ray; from cluster.environment import prepare; prepare()"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    done = subprocess.run([sys.executable, "-c", late], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert "before ray is imported" in done.stderr.splitlines()[-1]


def test_the_processes_of_an_own_cluster_know_where_it_is_and_take_its_token(tmp_path: Path):
    """Ray's default is the newest cluster of the machine: Train asks it about a controller that it does not know."""
    script = (
        "import os\n"
        "from cluster.environment import connect, prepare\n"
        "prepare(local=True)\n"
        "connect('local', num_cpus=1)\n"
        "import ray\n"
        "told = ray.get(ray.remote(lambda: os.environ['RAY_ADDRESS']).remote())\n"
        "print(told == ray.get_runtime_context().gcs_address, 'RAY_ADDRESS' in os.environ)\n"
    )
    variables = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True False\n", done.stderr


def test_an_address_without_a_cluster_is_one_line_at_once():
    start = time.monotonic()
    with pytest.raises(ConfigError, match=rf"no Ray cluster at {SILENT} \(nothing answers there: .*refused\)"):
        connect(SILENT)
    assert time.monotonic() - start < 5
