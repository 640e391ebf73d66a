import io

import numpy as np
import pytest
from PIL import Image

from ecul.engine.interfaces import Gallery
from ecul.engine.pictures import draw_pictures


def test_pictures_need_no_folder_that_a_killed_process_would_leave(tmp_path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(np.full((16, 8, 3), 90, np.uint8)).save(tmp_path / "person.png")
    path = str(tmp_path / "person.png")
    gallery = Gallery((path,), ((path, path),), ((True, False),))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    drawn = draw_pictures([{"epoch": 1.0, "loss/total": 2.0}], gallery)
    assert sorted(drawn) == ["curves", "gallery"]
    for content in drawn.values():
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "PNG"
    assert sorted(draw_pictures([], None)) == ["curves"]
