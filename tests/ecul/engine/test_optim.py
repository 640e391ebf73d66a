import pytest

from ecul.config import OptimConfig
from ecul.engine.optim import learning_rate


def test_learning_rate_warms_up_and_decays_by_steps():
    config = OptimConfig(learning_rate=1.0, decay_epochs=3, decay_factor=0.1, warmup_epochs=1)
    rates = [learning_rate(config, epoch) for epoch in range(1, 8)]
    assert rates == pytest.approx([0.5, 1, 1, 0.1, 0.1, 0.1, 0.01])
