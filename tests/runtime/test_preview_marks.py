"""Marks on a preview: scale bar, circle, text."""

from __future__ import annotations

import numpy as np
import pytest

from fcp_runtime.outputs.annotate import annotate
from fcp_runtime.outputs.preview import render_preview, shown_planes


def marks(shape, **options):
    labels = np.zeros(shape, np.uint16)
    picture = render_preview(labels, labels)
    return annotate(picture, shape, at=shown_planes(labels), **options)[..., 0] == 255


def test_the_bar_has_the_length_that_it_states_and_the_circle_the_diameter():
    white = marks((600, 600), count=3, diameter=100.0, pixel_um=0.5)
    assert white[590, 8:].argmin() == 100  # 50 um are 100 pixels, and 75 um would be the quarter
    columns = np.flatnonzero(white[400:550].any(axis=0))
    rows = np.flatnonzero(white[300:560, 480:].any(axis=1)) + 300
    assert columns.max() - columns.min() == pytest.approx(100, abs=2)
    assert rows.max() - rows.min() == pytest.approx(100, abs=2)


def test_each_plane_of_a_stack_states_its_number():
    white = marks((20, 300, 300), count=3, diameter=np.nan, pixel_um=None)
    zoom = 2
    for top, left in ((0, 0), (0, 300 * zoom), (300 * zoom, 0)):
        assert white[top : top + 40, left : left + 60].any()


@pytest.mark.parametrize("shape", [(3, 2), (64, 48), (1, 40, 40), (4, 1500, 1500)])
def test_marks_fit_every_picture(shape):
    assert marks(shape, count=12345, diameter=900.0, pixel_um=None).any()
