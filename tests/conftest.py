"""Shared pieces of the tests: a tiny synthetic dataset and its configuration."""

import os
import signal
import socket
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from cluster.environment import prepare
from ecul.config import Config
from ecul.data.synthetic import synthesize
from ecul.schema import merge
from ecul.settings import parse_config

# Ray reads these when it is imported, so before any test module does: its sockets stay on loopback, and tokens are for
# the tests of jobs alone.
os.environ["RAY_AUTH_MODE"] = "disabled"
prepare(local=True)

torch.set_num_threads(1)

# A shell starts its background jobs with this signal ignored, and what we start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `gpu` where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a GPU that torch can use"))


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What killed processes leave behind lies in pytest's own folder, and goes with it."""
    with pytest.MonkeyPatch.context() as patch:
        if "RAY_TMPDIR" not in os.environ:  # paths of Ray's sockets are limited to 107 bytes, so its folder stays short
            patch.setenv("RAY_TMPDIR", tempfile.gettempdir())
        folder = str(tmp_path_factory.mktemp("t", numbered=False))
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose only way out refuses connections. urllib keeps the proxies of its first call, so they go too."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture(scope="session")
def tiny_sysu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic dataset in SYSU-MM01's layout: 12 training and 6 test people, 32x16 pixels."""
    folder = tmp_path_factory.mktemp("data") / "sysu"
    synthesize(
        folder,
        layout="sysu",
        num_identities=12,
        num_test_identities=6,
        images_per_camera=3,
        height=32,
        width=16,
        seed=3,
    )
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_sysu: Path) -> Callable[..., Config]:
    """A function from {dotted path: value} to a configuration that trains in a second or two."""

    def build(changes: dict[str, object] | None = None) -> Config:
        clustering = {"preset": "emcc", "k1": 6, "k2": 3, "k3": 6, "eps": 0.5, "min_samples": 2}
        tree = {
            "data": {"root": str(tiny_sysu), "height": 32, "width": 16, "crop_padding": 2},
            "model": {"backbone": "small", "weights": "none"},
            "stages": {"bootstrap": 0, "intra": 1, "united": 2, "iterations": 3},
            "batch": {"batch_size": 8, "instances": 2},
            "clustering": {"united": clustering, "intra": clustering},
            "memory": {"intra": {"switch_epoch": 2}, "united": {"switch_epoch": 3}},
            "evaluation": {"every": 0, "protocols": ["sysu_all_single"]},
            "runtime": {"device": "cpu", "report": False},
        }
        return parse_config(merge(tree, changes or {}))

    return build
