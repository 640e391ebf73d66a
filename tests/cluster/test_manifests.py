"""The shipped manifests against their schemas, and their commands against our own parsers."""

import gzip
import re
import shlex
import subprocess
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


def test_the_slurm_script_is_a_shell_script():
    subprocess.run(["bash", "-n", MANIFESTS / "slurm.sh"], check=True)


def commands(text: str, module: str) -> Iterator[list[str]]:
    """The arguments of each call of a module in a text, comments and continued lines included."""
    joined = re.sub(r"\\\n[#\s]*", " ", text)
    for call in re.findall(rf"python -m {re.escape(module)} ([^\n]*)", joined):
        yield shlex.split(call.replace('"${begin[@]}"', "--config c.yaml --name n").replace("${#nodes[@]}", "2"))


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
                    assert "$" in args.config or args.config == "c.yaml" or (REPOSITORY / args.config).is_file()
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
