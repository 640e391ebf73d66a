"""Environment variables of Ray, and joining or starting a cluster. Call `prepare` before ray is imported."""

import importlib.util
import logging
import os
from collections.abc import Mapping
from typing import Any

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


def prepare(
    *,
    local: bool = False,
    health_check_interval_s: float = 0.2,
    start_timeout_s: float = 60,
    train_tab: bool | None = False,
) -> None:
    """Sets the environment variables that Ray reads; those that the user has set stay.

    Token authentication is on, usage statistics are off, output is not doubled. Train's controller hands its intervals
    to the workers.

    Args:
        local: for a cluster that this process starts for itself, on loopback only.
        health_check_interval_s: as in `ClusterConfig`.
        start_timeout_s: as in `ClusterConfig`.
        train_tab: as in `ClusterConfig`.
    """
    settings = _settings(health_check_interval_s, start_timeout_s, train_tab)
    wanted = {**DEFAULTS, **(LOCAL if local else {}), **settings}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def train_variables(
    *, health_check_interval_s: float, start_timeout_s: float, train_tab: bool | None = False
) -> dict[str, str]:
    """Returns the part of the environment that Ray Train reads, for a training in another process than the command's.

    Args:
        health_check_interval_s: as in `ClusterConfig`.
        start_timeout_s: as in `ClusterConfig`.
        train_tab: as in `ClusterConfig`.
    """
    defaults = {name: value for name, value in DEFAULTS.items() if name.startswith("RAY_TRAIN_")}
    return defaults | _settings(health_check_interval_s, start_timeout_s, train_tab)


def _settings(health_check_s: float, start_s: float, train_tab: bool | None) -> dict[str, str]:
    return {
        "RAY_TRAIN_ENABLE_STATE_TRACKING": "0" if train_tab is False else "1",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": f"{health_check_s:g}",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": f"{start_s:g}",
    }


def connect(
    address: str, *, num_cpus: float | None = None, temp_dir: str | None = None, log_to_driver: bool = True
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
    else:
        options["address"] = address
    try:
        ray.init(**options)
    except ConnectionError as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"no Ray cluster at {address} ({first}); start one with `ray start --head`, or use --address local"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise EculError(f"Ray did not start: {first}") from None
