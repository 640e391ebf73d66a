"""Environment variables of Ray, and joining or starting a cluster. Call `prepare` before ray is imported."""

import importlib.util
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cluster.config import ClusterConfig
from ecul.console import interrupt_on_sigterm
from ecul.errors import ConfigError, EculError

log = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"

DEFAULTS: Mapping[str, str] = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
}

# The first is Ray's only switch that keeps all sockets on loopback, on Linux too. The second: nobody preempts a laptop.
# The third: with few cores Ray ends an idle process after a second, and each epoch would start a new one to cluster.
LOCAL: Mapping[str, str] = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "30000",
}

_SETTINGS: Mapping[str, str] = {
    "health_check_interval_s": "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S",
    "start_timeout_s": "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S",
    "train_tab": "RAY_TRAIN_ENABLE_STATE_TRACKING",
}
"""The variables of settings of `ClusterConfig`."""


def prepare(*, local: bool = False, cluster: ClusterConfig | None = None) -> None:
    """Sets the environment variables that Ray reads; those that the user has set stay, unless a setting says otherwise.

    Token authentication is on, usage statistics are off, output is not doubled. Train's controller hands its intervals
    to the workers.

    Args:
        local: for a cluster that this process starts for itself, on loopback only.
        cluster: of the training that this process starts, if it starts one.
    """
    if "ray" in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        raise RuntimeError(
            "call prepare() before ray is imported: Ray reads its environment once, and would not see this"
        )
    chosen = {} if cluster is None else {name: value for name, value in cluster if name in cluster.model_fields_set}
    variables = _variables(cluster or ClusterConfig.model_validate({"train_tab": False}))
    for name, value in {**DEFAULTS, **(LOCAL if local else {}), **variables}.items():
        os.environ.setdefault(name, value)
    os.environ.update({name: variables[name] for setting, name in _SETTINGS.items() if setting in chosen})


def train_variables(cluster: ClusterConfig) -> dict[str, str]:
    """Returns the part of the environment that Ray Train reads, for a training in another process than the command's.

    Args:
        cluster: of the training.
    """
    defaults = {name: value for name, value in DEFAULTS.items() if name.startswith("RAY_TRAIN_")}
    return defaults | _variables(cluster)


def _variables(cluster: ClusterConfig) -> dict[str, str]:
    values = {
        "health_check_interval_s": f"{cluster.health_check_interval_s:g}",
        "start_timeout_s": f"{cluster.start_timeout_s:g}",
        "train_tab": "0" if cluster.train_tab is False else "1",
    }
    return {_SETTINGS[setting]: value for setting, value in values.items()}


def connect(
    address: str,
    *,
    num_cpus: float | None = None,
    temp_dir: str | None = None,
    log_to_driver: bool = True,
) -> None:
    """Joins the cluster at `address`, or starts one in this process for `local`.

    Args:
        address: `auto` (the cluster of this machine or job), `host:port`, or `local`. A local one listens on loopback.
        num_cpus: logical CPUs of a local one; None for the machine's.
        temp_dir: session folder of a local one; short, since socket paths are limited to 107 bytes.
        log_to_driver: show here what the processes of the cluster print.

    Raises:
        ConfigError: nothing answers at the address.
    """
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": log_to_driver}
    if address == "local":
        # With the dashboard where it is installed (ray[default]): without it Train warns each second.
        options |= {
            "address": "local",
            "num_cpus": num_cpus,
            "include_dashboard": importlib.util.find_spec("aiohttp_cors") is not None,
            "dashboard_host": LOOPBACK,
            "_node_ip_address": LOOPBACK,
            "_temp_dir": temp_dir,
        }
        log.info("starting Ray on this machine")
        with _known_address():
            _join(options)
    else:
        log.info("joining the Ray cluster: %s", address)
        options["address"] = address
        _join(options)
    interrupt_on_sigterm()  # Ray has put its own handler there


@contextmanager
def _known_address() -> Iterator[None]:
    """Tells the processes of a cluster that starts now where it is.

    Train asks the cluster whether a training's controller lives, and looks for the cluster among all that run on the
    machine. It may ask a stranger, who knows no such controller or does not answer (12 s at the end of a run).
    """
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = str(probe.getsockname()[1])
    variables = {"RAY_GCS_SERVER_PORT": port, "RAY_ADDRESS": f"{LOOPBACK}:{port}"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _join(options: Mapping[str, Any]) -> None:
    import ray
    import ray.exceptions

    try:
        _check_answers(options["address"])
        ray.init(**options)
    except ConnectionError as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"no Ray cluster at {options['address']} ({first}); start one with `ray start --head`, or use "
            "--address local"
        ) from None
    except ray.exceptions.AuthenticationError:
        raise ConfigError(
            f"the cluster at {options['address']} needs its token: in RAY_AUTH_TOKEN, in the file that "
            "RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise EculError(f"Ray did not start: {first}") from None


def _check_answers(address: str) -> None:
    """Checks that something listens at HOST:PORT. Ray itself tries an address without an answer for many minutes.

    Raises:
        ConnectionError: nothing does.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"nothing answers there: {error}") from None
