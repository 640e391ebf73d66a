import pytest
import torch
from torch import nn

from ecul.models.backbone import build_model
from ecul.models.inference import for_inference, pass_size
from ecul.types import Modality


@pytest.mark.parametrize(("backbone", "options"), [("small", {}), ("agw_resnet50", {"non_local": True})])
def test_folded_networks_give_the_same_embeddings(backbone: str, options: dict[str, bool]):
    torch.manual_seed(0)
    model = build_model(backbone, **options)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # statistics of the batch below, as after training
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 32), torch.randn(8, 3, 64, 32))
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = for_inference(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    images = torch.randn(3, 3, 64, 32)
    with torch.no_grad():
        for modality in Modality:
            found, expected = folded.embed(images, modality), model.embed(images, modality)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
            assert (found.double() * expected.double()).sum(dim=1).min() > 1 - 1e-6
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_passes_on_a_cpu_stay_small():
    assert pass_size(torch.device("cpu")) == 64
    assert pass_size(torch.device("cuda")) == 512
