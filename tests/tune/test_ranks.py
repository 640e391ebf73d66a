import math

import numpy as np
import pytest

from tune.ranks import spearman, spearman_interval


def test_the_interval_is_that_of_a_calculation_by_hand():
    # r = .5 over 20 trials: tanh(atanh(.5) +- 1.96 sqrt((1 + .125) / 17))
    assert spearman_interval(0.5, 20) == pytest.approx((0.0451, 0.7832), abs=1e-4)


def test_what_is_constant_has_no_ranks():
    assert math.isnan(spearman(np.ones(5), np.arange(5)))
    assert all(map(math.isnan, spearman_interval(math.nan, 20)))
    assert spearman(np.array([1, 2, 4]), np.array([0.1, 0.3, 0.2])) == pytest.approx(0.5)
