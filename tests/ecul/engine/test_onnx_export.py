from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from ecul.cli import main
from ecul.engine import onnx_export
from ecul.engine.collection import open_embedder
from ecul.engine.onnx_export import export_onnx
from ecul.errors import DataError
from ecul.models.backbone import build_model
from ecul.models.weights import SHIPPED, model_from_file


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    model, description = model_from_file(SHIPPED["synthetic"])
    assert export_onnx(model, path, height=description["height"], width=description["width"]) < 1e-5
    return path


def test_any_batch_of_both_modalities_is_embedded_as_by_the_network(exported: Path):
    session = onnxruntime.InferenceSession(str(exported))
    embedder = open_embedder(SHIPPED["synthetic"], torch.device("cpu"))
    generator = np.random.default_rng(0)
    for size in (1, 2, 7):
        images = generator.integers(0, 256, (size, 3, embedder.height, embedder.width), dtype=np.uint8)
        kinds = (np.arange(size) % 2).astype(np.int32)
        (found,) = session.run(None, {"images": images, "infrared": kinds.astype(bool)})
        np.testing.assert_allclose(found, embedder._features(images, kinds), atol=1e-5)


def test_a_file_that_computes_something_else_is_not_kept_and_the_exporter_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with pytest.raises(DataError, match="its embeddings differ from the network's"):
        export_onnx(build_model("small").eval(), tmp_path / "a.onnx", height=32, width=16)
    assert list(tmp_path.iterdir()) == []
    assert caplog.messages == []


def test_missing_libraries_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(DataError, match=r"ONNX needs onnxruntime; install it with: pip install 'ecul\[onnx\]'"):
        export_onnx(build_model("small").eval(), tmp_path / "a.onnx", height=32, width=16)


def test_a_run_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["export", str(tmp_path / "gone"), "--format", "onnx", "--out", str(tmp_path / "a.onnx")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
