"""Images of any channels and numbers become pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from icnn_viz.figures.screen import to_data_url
from icnn_viz.pictures import to_grey, to_picture


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((6, 8, 3), np.uint8),
        ((6, 8, 4), np.uint8),
        ((6, 8, 1), np.float32),
        ((6, 8), np.uint16),
        ((6, 8, 2), np.uint8),
    ],
)
def test_every_image_can_be_shown(shape: tuple[int, ...], kind: type) -> None:
    image = np.linspace(0, 200, int(np.prod(shape))).reshape(shape).astype(kind)
    picture = to_picture(image)
    assert (picture.shape, picture.dtype) == ((6, 8, 3), np.uint8)
    assert to_grey(image).shape == (6, 8, 3)
    url = to_data_url(image)
    shown = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert shown.size == (8, 6)
    assert int(np.asarray(shown)[5, 7, 0]) > int(np.asarray(shown)[0, 0, 0]) + 100
