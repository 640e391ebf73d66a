import argparse
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import submit
from cluster.submit import build_parser, follow, job_command, runtime_env
from cluster.upload import check_upload, upload_files
from ecul.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]


def parsed(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def test_the_command_stands_after_two_dashes():
    args = parsed("--address", "http://h:1", "--follow", "--", "python", "-m", "cluster.train", "--cpu")
    assert job_command(args) == ["python", "-m", "cluster.train", "--cpu"]
    assert args.follow


def test_a_configuration_is_trained_into_a_storage_that_stays():
    train = ["python", "-m", "cluster.train", "--config", "c.yaml", "--storage", "/shared/runs"]
    assert job_command(parsed("--config", "c.yaml", "--storage", "/shared/runs")) == train
    with pytest.raises(ConfigError, match="go together"):
        job_command(parsed("--config", "c.yaml"))


@pytest.mark.parametrize("arguments", [(), ("--config", "c.yaml", "--", "ls")])
def test_neither_or_both_is_refused(arguments: tuple[str, ...]):
    with pytest.raises(ConfigError, match="either -- COMMAND"):
        job_command(parsed(*arguments))


def test_variables_reach_the_job_but_secrets_do_not():
    environment = runtime_env(parsed("--env", "A=1=2", "--env", "B=", "--env", "TOKENIZERS_PARALLELISM=no", "--", "ls"))
    assert environment["env_vars"] == {"PYTHONUNBUFFERED": "1", "A": "1=2", "B": "", "TOKENIZERS_PARALLELISM": "no"}
    with pytest.raises(ConfigError, match="not NAME=VALUE"):
        runtime_env(parsed("--env", "A", "--", "ls"))


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "HF_TOKEN",
        "apikey",
        "PGPASSWD",
        "DB_PASSWORD",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ],
)
def test_secrets_are_refused(name: str):
    with pytest.raises(ConfigError, match="use the cluster's secrets"):
        runtime_env(parsed("--env", f"{name}=x", "--", "ls"))


class Server:
    """A job server behind a connection that drops: each call takes the next of a list of outcomes."""

    def __init__(self, *looks: tuple[str, Exception | None], states: list[Any], code: int = 0) -> None:
        self._looks, self._states, self._code = list(looks), states, code

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        text, error = self._looks.pop(0)
        for line in text.splitlines(keepends=True):
            yield line
        if error is not None:
            raise error

    def get_job_status(self, job: str) -> Any:
        state = self._states.pop(0)
        if isinstance(state, Exception):
            raise state
        return SimpleNamespace(is_terminal=lambda: state != "RUNNING")

    def get_job_info(self, job: str) -> Any:
        return SimpleNamespace(status="FAILED" if self._code else "SUCCEEDED", driver_exit_code=self._code, message="")


def test_following_connects_again_and_shows_each_line_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pauses: list[float] = []
    monkeypatch.setattr(submit, "time", SimpleNamespace(sleep=pauses.append))
    dropped = RuntimeError("WebSocket connection closed unexpectedly with close code 1006")
    server = Server(
        ("one\n", dropped),
        ("one\ntwo\n", OSError("Cannot connect to host")),
        ("", OSError("Cannot connect to host")),
        ("one\ntwo\nthree\n", None),
        ("one\ntwo\nthree\nfour\n", None),
        ("one\ntwo\nthree\nfour\n", None),
        states=["RUNNING", ConnectionError("refused"), "FAILED", "FAILED"],
        code=7,
    )
    assert follow(server, "job") == 7
    printed = capsys.readouterr()
    assert printed.out == "one\ntwo\nthree\nfour\n"
    assert printed.err.count("trying again") == 4
    assert pauses[:3] == [1.0, 2.0, 4.0]


def test_a_job_that_nobody_knows_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(submit, "time", SimpleNamespace(sleep=lambda seconds: None))
    unknown = RuntimeError("Request failed with status code 404: Job job does not exist")
    with pytest.raises(ConfigError, match="cannot be followed"):
        follow(Server(("", OSError("gone")), ("", unknown), states=[]), "job")
    with pytest.raises(BrokenPipeError):  # `| head`
        follow(Server(("", BrokenPipeError()), states=[]), "job")


def test_a_large_folder_is_refused_with_its_largest_files(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "big.bin").write_bytes(bytes(3 * 2**20))
    (tmp_path / "kept.bin").write_bytes(bytes(2 * 2**20))
    (tmp_path / "ignored.bin").write_bytes(bytes(2 * 2**20))
    (tmp_path / ".rayignore").write_text("ignored.bin\n")
    assert check_upload(tmp_path, limit_mib=3) == 2 * 2**20 + len("ignored.bin\n")
    with pytest.raises(ConfigError, match=r"kept.bin \(2.0 MiB\)"):
        check_upload(tmp_path, limit_mib=1)
    with pytest.raises(ConfigError, match="is no folder"):
        check_upload(tmp_path / "absent", limit_mib=1)


def test_this_repository_uploads_its_code_and_little_else():
    files = upload_files(REPOSITORY)
    assert {"ecul/engine/fit.py", "ecul/data/dataset.py", "cluster/train.py", "configs/smoke.yaml"} <= set(files)
    assert {name.split("/")[0] for name in files}.isdisjoint({".git", ".venv", "tests", "runs", "demo", "data"})
    assert sum(files.values()) < 10 * 2**20
