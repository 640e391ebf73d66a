import sys

import pytest


@pytest.fixture
def wandb_home(tmp_path, monkeypatch):
    for name in (
        "WANDB_MODE",
        "WANDB_API_KEY",
        "WANDB_RUN_GROUP",
        "WANDB_DIR",
        "WANDB_PROJECT",
        "WANDB_ENTITY",
        "WANDB_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def service():
    yield
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()
