import pytest
import torch

from ecul.losses.combine import masked_sum, total


def test_only_the_mask_is_summed():
    values, mask = torch.tensor([1.0, 2.0, float("nan")]), torch.tensor([True, True, False])
    assert masked_sum(values, mask) == 3.0


def test_the_parts_of_the_ranks_add_up():
    values, mask = torch.arange(8.0), torch.tensor([True, False, True, True, True, True, False, True])
    whole = masked_sum(values, mask)
    parts = sum(masked_sum(values[part], mask[part]) for part in (slice(0, 3), slice(3, 8)))
    torch.testing.assert_close(parts, whole)


def test_nothing_under_the_mask_is_zero_with_zero_gradient():
    values = torch.ones(3, requires_grad=True)
    result = masked_sum(values, torch.zeros(3, dtype=torch.bool))
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
