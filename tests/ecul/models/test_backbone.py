from pathlib import Path

import pytest
import torch

from ecul.errors import CheckpointError
from ecul.models.backbone import build_model, freeze_batch_norm
from ecul.models.pooling import GeM, NonLocal
from ecul.models.weights import load_into, model_from_file, read_weights, save_weights
from ecul.types import Modality


@pytest.mark.parametrize(("backbone", "size"), [("small", 128), ("agw_resnet50", 2048)])
def test_embeddings_are_unit_rows_of_the_promised_size(backbone: str, size: int):
    model = build_model(backbone).eval()
    with torch.inference_mode():
        embeddings = model(torch.randn(2, 3, 32, 16), torch.randn(1, 3, 32, 16))
    assert embeddings.shape == (3, size) == (3, model.embedding_dim)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(3), atol=1e-5)


def test_agw_keeps_the_resolution_of_its_last_stage():
    model = build_model("agw_resnet50").eval()
    with torch.inference_mode():
        maps = model.body(model.visible_stem(torch.randn(1, 3, 64, 32)))
    assert maps.shape == (1, 2048, 4, 2)


def test_both_stems_start_equal_and_are_apart():
    model = build_model("small")
    images = torch.randn(2, 3, 32, 16)
    model.eval()
    assert torch.equal(model.embed(images, Modality.VISIBLE), model.embed(images, Modality.INFRARED))
    torch.nn.init.zeros_(next(model.visible_stem.parameters()))
    assert next(model.infrared_stem.parameters()).abs().sum() > 0


def test_gem_lies_between_mean_and_maximum():
    maps = torch.rand(2, 3, 4, 4)
    pooled = GeM()(maps)
    assert (pooled >= maps.mean(dim=(2, 3)) - 1e-6).all()
    assert (pooled <= maps.amax(dim=(2, 3)) + 1e-6).all()
    assert torch.allclose(GeM(exponent=1.0)(maps), maps.mean(dim=(2, 3)), atol=1e-6)


def test_non_local_starts_as_the_identity():
    maps = torch.randn(2, 8, 4, 2)
    assert torch.allclose(NonLocal(8).eval()(maps), maps)
    assert build_model("agw_resnet50", non_local=True).embedding_dim == 2048


def test_frozen_batch_norm_keeps_its_statistics():
    model = build_model("small").train()
    freeze_batch_norm(model)
    before = model.head.norm.running_mean.clone()
    model(torch.randn(4, 3, 32, 16), None)
    assert torch.equal(model.head.norm.running_mean, before)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="agw_resnet50, small"):
        build_model("large")
    with pytest.raises(ValueError, match="small backbone"):
        build_model("small", non_local=True)


def test_weights_survive_a_file_and_foreign_files_are_refused(tmp_path: Path):
    model, path = build_model("small").eval(), tmp_path / "w.safetensors"
    save_weights(model, path, description={"backbone": "small", "height": 32, "width": 16})
    loaded, description = model_from_file(path)
    images = torch.randn(1, 3, 32, 16)
    assert torch.equal(loaded.embed(images, Modality.VISIBLE), model.embed(images, Modality.VISIBLE))
    assert description["height"] == 32
    with pytest.raises(CheckpointError, match="expected agw_resnet50"):
        load_into(build_model("small"), path, backbone="agw_resnet50")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        read_weights(path)
    with pytest.raises(CheckpointError, match="no weights file"):
        read_weights(tmp_path / "gone.safetensors")
