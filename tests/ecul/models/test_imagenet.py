"""ImageNet weights where there is no internet: a proxy that refuses stands for it."""

from pathlib import Path

import pytest
import torch

from ecul.config import Config
from ecul.engine.session import build_network
from ecul.errors import CheckpointError
from ecul.models.imagenet import imagenet_weights, resnet50_weights

FILE = "resnet50-0676ba61.pth"


@pytest.fixture
def offline(no_way_out: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Torch's folder of weights, empty, on a machine without a way out."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_the_missing_file_its_place_and_the_setting_are_named(offline: Path):
    with pytest.raises(CheckpointError) as error:
        imagenet_weights()
    text = str(error.value)
    assert f"{offline / FILE} are missing" in text
    assert "Connection refused" in text
    assert "model.weights=FILE" in text
    assert "\n" not in text


def test_a_copy_in_torchs_folder_or_by_model_weights_is_taken(offline: Path, tmp_path: Path):
    from torchvision.models import resnet50

    torch.manual_seed(3)
    network = resnet50()
    copy = tmp_path / FILE
    torch.save(network.state_dict(), copy)
    config = Config.model_validate({"data": {"root": "x"}, "model": {"weights": str(copy)}})
    model = build_network(config)
    for stem in (model.visible_stem, model.infrared_stem):
        assert torch.equal(next(stem.parameters()), network.conv1.weight)
    assert torch.equal(model.body.state_dict()["3.2.conv3.weight"], network.layer4[2].conv3.weight)
    offline.mkdir(parents=True)
    copy.rename(offline / FILE)
    assert torch.equal(imagenet_weights()["conv1.weight"], network.conv1.weight)


def test_files_of_something_else_are_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no weights file"):
        resnet50_weights(tmp_path / "gone.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\3\4")
    with pytest.raises(CheckpointError, match=r"cut\.pth is truncated"):
        resnet50_weights(tmp_path / "cut.pth")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth holds no ResNet-50"):
        resnet50_weights(tmp_path / "other.pth")
