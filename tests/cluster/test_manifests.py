"""The shipped manifests against their schemas, and their commands against our own parsers."""

import gzip
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from cluster import submit, train, wait
from cluster.config import load_cluster_config
from cluster.train import _cluster_values

REPOSITORY = Path(__file__).parents[2]
MANIFESTS = REPOSITORY / "cluster" / "manifests"
SCHEMAS = REPOSITORY / "tests" / "golden" / "schemas"
KUBERAY = {"raycluster.yaml": "ray.io_rayclusters.yaml", "rayjob.yaml": "ray.io_rayjobs.yaml"}
TEXTS = sorted(path for path in MANIFESTS.iterdir() if path.suffix in (".yaml", ".sh"))


def closed(schema: Any) -> Any:
    """The schema with unknown keys refused, which Kubernetes prunes silently."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(part) for key, part in schema.items()}
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not free:
        result.setdefault("additionalProperties", False)
    return result


@cache
def validator(crd: str) -> Draft7Validator:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(gzip.decompress((SCHEMAS / f"{crd}.gz").read_bytes()), Loader=loader)
    (version,) = [entry for entry in definition["spec"]["versions"] if entry["name"] == "v1"]
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return Draft7Validator(closed(schema))


def errors(manifest: Any, crd: str) -> list[str]:
    found = validator(crd).iter_errors(manifest)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in found]


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_takes_the_manifest_and_no_typo(name: str):
    manifest = yaml.safe_load((MANIFESTS / name).read_text())
    assert errors(manifest, KUBERAY[name]) == []
    manifest["spec"]["rayVersoin"] = "2"
    assert any("rayVersoin" in error for error in errors(manifest, KUBERAY[name]))


@pytest.mark.parametrize("name", ["aws.yaml", "on-premise.yaml"])
def test_ray_up_takes_the_manifest_and_no_typo(name: str):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((MANIFESTS / name).read_text())
    validate_config(prepare_config(config))
    config["max_wrokers"] = 3
    with pytest.raises(Exception, match="max_wrokers"):
        validate_config(prepare_config(config))


STUBS = {
    "scontrol": 'echo "scontrol $*" >> "$CALLS"; if [ "$1" = show ]; then printf "node1\\nnode2\\n"; fi',
    "hostname": "echo 127.0.0.1",
    "srun": 'while [ "$1" != ray ] && [ "$1" != hostname ]; do shift; done; exec "$@"',
    "ray": 'echo "ray $2" >> "$CALLS"; sleep 20',
    "python": 'if [ "$1" = -c ]; then exec "$PYTHON" "$@"; fi; echo "python $*" >> "$CALLS"\n'
    'if [ "$2" = cluster.train ]; then eval "$TRAINING"; fi',
}


def slurm(folder: Path, training: str) -> subprocess.Popen[bytes]:
    """Starts the Slurm script with stand-ins for Slurm, Ray and the training; their calls are in a file."""
    commands = folder / "home" / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, text in STUBS.items():
        (commands / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (commands / name).chmod(0o755)
    (commands / "activate").write_text(f"PATH={commands}:$PATH\n")
    environment = dict(os.environ) | {
        "CALLS": str(folder / "calls"),
        "PYTHON": sys.executable,
        "TRAINING": training,
        "ECUL_HOME": str(folder / "home"),
        "ECUL_STORAGE": "/shared/runs",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_ID": str(os.getpid() % 10_000),
        "SLURM_CPUS_PER_TASK": "4",
    }
    command = ["bash", str(MANIFESTS / "slurm.sh"), "configs/sysu.yaml", "sysu-1"]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def calls_after(process: subprocess.Popen[bytes], folder: Path, number: int | None) -> list[str]:
    """Waits for the training, sends a signal to the script and waits for its end."""
    awaited = "cluster.train" if number is None else "ready"
    try:
        deadline = time.monotonic() + 60
        while awaited not in ((folder / "calls").read_text() if (folder / "calls").exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if number is not None:
            process.send_signal(number)
        process.wait(60)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    return (folder / "calls").read_text().splitlines()


def test_the_slurm_script_waits_for_the_head_and_then_starts_or_continues_the_run(tmp_path: Path):
    process = slurm(tmp_path, "exit 3")
    calls = calls_after(process, tmp_path, None)
    assert process.returncode == 3
    assert calls[0] == "scontrol show hostnames node[1-2]"
    assert sorted(call for call in calls if call.startswith("ray")) == ["ray --address=" + _address(), "ray --head"]
    head, nodes, trained = [call for call in calls if call.startswith("python")]
    assert "-m cluster.wait" in head
    assert "--nodes 1" in head
    assert "--nodes 2" in nodes
    assert "-m cluster.train --config configs/sysu.yaml --name sysu-1 --resume-or-start" in trained


def _address() -> str:
    return f"127.0.0.1:{20_000 + os.getpid() % 10_000 % 20_000}"


def test_before_the_time_limit_the_slurm_script_stops_the_training_and_requeues(tmp_path: Path):
    waits = 'trap \'echo stopped >> "$CALLS"; exit 130\' TERM; echo ready >> "$CALLS"; sleep 30 & wait'
    process = slurm(tmp_path, waits)
    calls = calls_after(process, tmp_path, signal.SIGUSR1)
    assert process.returncode == 0
    assert calls[-1] == f"scontrol requeue {os.getpid() % 10_000}"
    assert "stopped" in calls  # what starts the other node may come between


def commands(text: str, module: str) -> Iterator[list[str]]:
    """The arguments of each call of a module in a text, comments and continued lines included."""
    joined = re.sub(r"\\\n[#\s]*", " ", text)
    for call in re.findall(rf"python -m {re.escape(module)} ([^\n]*)", joined):
        yield shlex.split(call.replace("${#nodes[@]}", "2"))


def test_their_commands_are_ours():
    calls = 0
    for path in TEXTS:
        text = path.read_text()
        if path.name == "rayjob.yaml":
            text = yaml.safe_load(text)["spec"]["entrypoint"]
        for module, parser in (
            ("cluster.train", train.build_parser()),
            ("cluster.submit", submit.build_parser()),
            ("cluster.wait", wait.build_parser()),
        ):
            for arguments in commands(text, module):
                args = parser.parse_args(arguments)
                calls += 1
                if module == "cluster.train":
                    load_cluster_config(args.cluster and REPOSITORY / args.cluster, _cluster_values(args))
                    assert "$" in args.config or (REPOSITORY / args.config).is_file()
                    assert args.resume_or_start
    assert calls >= 7


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_tokens_are_on_and_nothing_is_open_to_the_world(path: Path):
    text = path.read_text()
    kubernetes = path.name in KUBERAY
    assert ("mode: token" if kubernetes else "RAY_AUTH_MODE=token") in text
    assert "0.0.0.0/0" not in text
    for forbidden in ("LoadBalancer", "NodePort", "hostNetwork: true"):
        assert forbidden not in text
    if not kubernetes:
        assert "--dashboard-host=127.0.0.1" in text
        assert "0.0.0.0" not in text
    assert not re.search(r"(api.?key|token)\s*[:=]\s*[0-9a-f]{16,}", text, re.IGNORECASE)


def test_what_the_dockerfile_copies_is_uploaded_and_there():
    text = (REPOSITORY / "cluster" / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert steps[0][0] == "FROM"
    assert {name for name, _ in steps} <= {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV"}
    for name, rest in steps:
        if name == "COPY":
            for source in rest.split()[:-1]:
                assert (REPOSITORY / source).exists() or source == "README.md", source
