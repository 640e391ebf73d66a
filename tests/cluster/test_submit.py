import argparse
from pathlib import Path

import pytest

from cluster.submit import build_parser, job_command, runtime_env
from cluster.upload import check_upload, upload_files
from ecul.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]


def parsed(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def test_the_command_stands_after_two_dashes():
    args = parsed("--address", "http://h:1", "--follow", "--", "python", "-m", "cluster.train", "--cpu")
    assert job_command(args) == ["python", "-m", "cluster.train", "--cpu"]
    assert args.follow


def test_a_configuration_alone_is_trained():
    assert job_command(parsed("--config", "c.yaml")) == ["python", "-m", "cluster.train", "--config", "c.yaml"]


@pytest.mark.parametrize("arguments", [(), ("--config", "c.yaml", "--", "ls")])
def test_neither_or_both_is_refused(arguments: tuple[str, ...]):
    with pytest.raises(ConfigError, match="either -- COMMAND"):
        job_command(parsed(*arguments))


def test_variables_reach_the_job_but_secrets_do_not():
    environment = runtime_env(parsed("--env", "A=1=2", "--env", "B=", "--", "ls"))
    assert environment["env_vars"] == {"PYTHONUNBUFFERED": "1", "A": "1=2", "B": ""}
    for text, complaint in (("A", "not NAME=VALUE"), ("WANDB_API_KEY=x", "use the cluster's secrets")):
        with pytest.raises(ConfigError, match=complaint):
            runtime_env(parsed("--env", text, "--", "ls"))


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
