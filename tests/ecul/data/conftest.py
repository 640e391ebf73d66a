"""Hand-made datasets of several test files."""

import pytest


@pytest.fixture
def sysu(tmp_path):
    """A hand-made SYSU-MM01: two training, one validation and one test identity, one or two images a camera."""
    (tmp_path / "exp").mkdir()
    for name, text in (("train_id", "2,11"), ("val_id", "3"), ("test_id", "7,")):
        (tmp_path / "exp" / f"{name}.txt").write_text(text)
    for camera in range(1, 7):
        for identity in (2, 3, 7, 11, 40):
            folder = tmp_path / f"cam{camera}" / f"{identity:04d}"
            folder.mkdir(parents=True)
            for name in ("0002.JPG", "a-much-longer-name.png", "1.bmp", "0010.jpeg", "notes.txt", ".hidden.jpg"):
                (folder / name).write_bytes(b"")
    return tmp_path
