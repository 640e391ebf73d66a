import pytest
import torch

from ecul.losses.combine import total, weighted_mean


def test_weighted_mean_counts_only_the_mask():
    values, mask = torch.tensor([1.0, 2.0, float("nan")]), torch.tensor([True, True, False])
    assert weighted_mean(values, mask, count=2) == 1.5


def test_the_ranks_sum_is_the_mean_of_the_global_batch():
    values, mask = torch.arange(8.0), torch.tensor([True, False, True, True, True, True, False, True])
    whole = weighted_mean(values, mask, count=6)
    parts = sum(weighted_mean(values[part], mask[part], count=6) for part in (slice(0, 3), slice(3, 8)))
    torch.testing.assert_close(parts, whole)


def test_nothing_under_the_mask_is_zero_with_zero_gradient():
    values = torch.ones(3, requires_grad=True)
    result = weighted_mean(values, torch.zeros(3, dtype=torch.bool), count=0)
    result.backward()
    assert result == 0
    assert values.grad is not None
    assert torch.equal(values.grad, torch.zeros(3))


def test_total_adds_the_weighted_terms_whatever_their_order():
    terms = {"united": torch.tensor(2.0), "intra": torch.tensor(1.0)}
    weights = {"intra": 1.0, "united": 0.5, "instance": 3.0}
    assert total(terms, weights) == 2.0
    assert torch.equal(total(dict(reversed(terms.items())), weights), total(terms, weights))


def test_a_term_without_weight_and_no_term_are_refused():
    with pytest.raises(ValueError, match="no weight for the loss terms united"):
        total({"united": torch.tensor(2.0)}, {"intra": 1.0})
    with pytest.raises(ValueError, match="no loss term"):
        total({}, {"intra": 1.0})
