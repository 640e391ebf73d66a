"""The dry run at real size: each part is measured on the dataset itself, and the estimate is the stated arithmetic."""

from collections.abc import Callable

import pytest

from ecul.bench.real_size import estimate_epoch, flops_of_an_image, measure_parts
from ecul.config import Config


def test_every_part_is_about_the_datasets_own_images(tiny_config: Callable[..., Config]):
    parts = {part.name: part for part in measure_parts(tiny_config(), slice_images=5)}
    assert list(parts)[:5] == ["doctor", "index", "decode", "extract", "cluster"]
    assert parts["extract"].count == 5
    assert parts["cluster"].count == parts["decode"].count
    assert parts["index"].count == parts["decode"].count + parts["evaluate sysu_all_single"].count
    assert all(part.seconds > 0 for part in parts.values())


def test_the_estimate_by_hand(tiny_config: Callable[..., Config]):
    config = tiny_config({"stages.iterations": 10, "batch.batch_size": 8})
    numbers = {"num_images": 600, "flops": 10**9, "cluster_seconds": 7.0, "sustained_tflops": 0.1}
    one, four = (estimate_epoch(config, num_gpus=num_gpus, **numbers) for num_gpus in (1, 4))
    # 600 images twice through 1 GFLOP; 10 steps of 3 x 8 views, forward and twice that backward
    assert (one.extract, one.train) == pytest.approx((600 * 2 * 1e9 / 1e11, 10 * 24 * 3 * 1e9 / 1e11))
    assert one.epoch == pytest.approx(12 + 7 + 7.2)
    assert four.epoch == pytest.approx((12 + 7.2) / 4 + 7)


def test_operations_grow_with_the_image(tiny_config: Callable[..., Config]):
    small, large = (flops_of_an_image(tiny_config({"data.height": height})) for height in (32, 64))
    assert 1.9 < large / small < 2.1
