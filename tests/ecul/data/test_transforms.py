import numpy as np
import pytest
import torch

from ecul.data.transforms import MEAN, STD, Augmentation, augment, draw_augmentation, normalise

HEIGHT, WIDTH = 12, 6


def draw(
    seed: int, num_images: int = 16, channels: str = "keep", padding: int = 3, erasing: float = 0.5
) -> Augmentation:
    return draw_augmentation(
        np.random.default_rng(seed),
        num_images=num_images,
        height=HEIGHT,
        width=WIDTH,
        padding=padding,
        erasing_probability=erasing,
        channels=channels,
    )


def images(seed: int, num_images: int = 16) -> torch.Tensor:
    return torch.randint(
        0, 256, (num_images, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def literal(image: np.ndarray, plan: Augmentation, row: int) -> np.ndarray:
    """One image at a time, in the plainest words."""
    padded = np.pad(image, ((0, 0), (plan.padding,) * 2, (plan.padding,) * 2)).astype(np.float64)
    top, left = plan.offset[row]
    out = padded[:, top : top + HEIGHT, left : left + WIDTH]
    if plan.flip[row]:
        out = out[:, :, ::-1]
    out = np.einsum("ij,jhw->ihw", plan.mixing[row], out)
    out = (out / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    first, last, start, stop = plan.box[row]
    out[:, first:last, start:stop] = np.array([0.4914, 0.4822, 0.4465])[:, None, None]
    return out


@pytest.mark.parametrize("channels", ["keep", "exchange", "infrared"])
def test_batch_augmentation_equals_one_image_at_a_time(channels: str):
    plan, batch = draw(1, channels=channels), images(2)
    got = augment(batch, plan)
    for row in range(len(batch)):
        np.testing.assert_allclose(got[row].numpy(), literal(batch[row].numpy(), plan, row), atol=1e-5)


def test_a_part_of_the_plan_does_that_part_of_the_batch():
    plan, batch = draw(3), images(4)
    assert torch.equal(augment(batch[4:8], plan.rows(slice(4, 8))), augment(batch, plan)[4:8])


def test_the_identity_plan_only_normalises():
    plan = draw(0, padding=0, erasing=0.0)
    still = Augmentation(plan.offset, np.zeros_like(plan.flip), plan.box, plan.mixing, 0)
    assert torch.allclose(augment(images(5), still), normalise(images(5)), atol=1e-6)


def test_exchange_shows_one_channel_three_times():
    mixing = draw(6, num_images=300, channels="exchange").mixing
    assert (mixing.sum(axis=2) == 1).all()
    assert (mixing.max(axis=2) == 1).all()
    assert (mixing == mixing[:, :1]).all()
    shares = mixing[:, 0].mean(axis=0)
    assert shares.min() > 0.2


def test_erased_boxes_stay_inside_and_respect_their_share():
    box = draw(7, num_images=2000, erasing=0.4).box
    area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
    assert box.min() >= 0
    assert box[:, :2].max() <= HEIGHT
    assert box[:, 2:].max() <= WIDTH
    assert 0.35 < (area > 0).mean() < 0.45
    assert area.max() <= 0.5 * HEIGHT * WIDTH
