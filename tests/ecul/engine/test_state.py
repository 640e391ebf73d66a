import pytest
import torch

from ecul.config import Config, OptimConfig
from ecul.engine.optim import build_optimizer
from ecul.engine.state import TrainState
from ecul.errors import CheckpointError
from ecul.models.backbone import build_model


def state_with(**options):
    torch.manual_seed(0)
    model = build_model("small")
    return TrainState(model, build_optimizer(model, OptimConfig(**options)))


@pytest.fixture
def trained():
    """A state after one step with weight decay 0.0005."""
    state = state_with(weight_decay=5e-4)
    for parameter in state.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    return state


@pytest.fixture
def checkpoint(trained):
    config = Config.model_validate({"data": {"root": "x"}, "model": {"backbone": "small", "weights": "none"}})
    return trained.checkpoint(config)


def options_of(optimizer):
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def test_a_warm_start_keeps_every_option_that_the_configuration_gives_its_optimizer(trained, checkpoint):
    state = state_with(weight_decay=0.1, learning_rate=0.5)
    before = options_of(state.optimizer)
    state.restore(checkpoint)
    assert options_of(state.optimizer) == before
    assert before[0]["weight_decay"] == 0.1
    # the moments are the checkpoint's
    ours, theirs = state.optimizer.state_dict()["state"], trained.optimizer.state_dict()["state"]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_an_optimizer_of_another_network_is_refused(checkpoint):
    state = state_with()
    del checkpoint["optimizer"]["param_groups"][0]["params"][0]
    with pytest.raises(CheckpointError, match="does not fit"):
        state.restore(checkpoint)
    checkpoint["optimizer"]["param_groups"] = []
    with pytest.raises(CheckpointError, match="does not fit"):
        state.restore(checkpoint)
