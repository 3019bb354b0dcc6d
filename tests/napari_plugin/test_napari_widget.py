"""The widget without a screen: what is pressed, and what then lies in the viewer's model."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("napari.layers", reason="the extra napari is not installed")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")

from napari.components import ViewerModel

from fcp_runtime import Segmenter
from fcp_runtime.napari.sample import organoid_layers
from fcp_runtime.napari.widget import TABLE, SegmentWidget
from fcp_runtime.phantom import nuclei_image, organoid

STACK = organoid((20, 96, 96), phenotype="compact", diameter=20, anisotropy=2.0, seed=1)
FLAT = nuclei_image((112, 112), diameter=20, seed=1)


@pytest.fixture
def viewer():
    """A viewer without its window, which would need OpenGL."""
    return ViewerModel()


@pytest.fixture
def open_widget(viewer, qtbot):
    """Open the widget as a window would dock it; nothing it started outlives the test."""
    opened = []

    def open_one():
        widget = SegmentWidget(viewer)
        for event in ("inserted", "removed", "reordered", "renamed"):
            getattr(viewer.layers.events, event).connect(widget.reset_choices)
        qtbot.addWidget(widget)
        opened.append(widget)
        return widget

    yield open_one
    for widget in opened:
        widget.job.stop()
        wait(qtbot, widget)


@pytest.fixture
def messages():
    """Texts of napari's notifications."""
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    return lambda: [note.message for note in notification_manager.records]


def wait(qtbot, widget) -> None:
    qtbot.waitUntil(lambda: not widget.job.running, timeout=300_000)


def add_stack(viewer, **more):
    placed = {"scale": STACK.voxel_um, "units": ("um",) * 3, "translate": (1.0, 2.0, 3.0)}
    return viewer.add_image(STACK.image, name="stack", **placed | more)


@pytest.fixture
def segmented(viewer, open_widget, qtbot):
    """A widget with a segmented stack, and its labels layer."""
    add_stack(viewer)
    widget = open_widget()
    widget.form.diameter.setValue(20)
    widget.run.click()
    wait(qtbot, widget)
    return widget, viewer.layers["stack nuclei"]


def test_sample_data_have_their_voxel_size(viewer):
    ((image, placed, kind),) = organoid_layers()
    assert kind == "image"
    layer = viewer.add_image(image, **placed)
    assert layer.data.shape == (48, 160, 160)
    assert str(layer.units[0]) == "micrometer"
    assert layer.scale[0] == pytest.approx(2 * layer.scale[1])


def test_a_stack_becomes_labels_in_the_same_place(segmented, viewer):
    _, labels = segmented
    image = viewer.layers["stack"]
    whole = Segmenter("v3").segment(STACK.image, diameter=20, anisotropy=2.0)
    assert np.array_equal(labels.data, whole.masks)
    assert np.array_equal(labels.scale, image.scale)
    assert np.array_equal(labels.translate, image.translate)
    assert labels.units == image.units
    assert labels.metadata["settings"] == whole.settings.as_dict()


def test_measurements_are_the_features_of_the_labels(segmented):
    _, labels = segmented
    rows = labels.features
    assert list(rows["label"]) == list(range(labels.data.max() + 1))
    assert list(rows["volume_voxels"][1:]) == list(np.bincount(labels.data.ravel())[1:])
    first = STACK.image[labels.data == 1]
    assert rows["mean_intensity"][1] == pytest.approx(first.mean())
    assert np.isnan(rows["mean_intensity"][0])
    assert "volume_um3" in rows


def test_another_threshold_gives_the_masks_of_a_full_run(segmented, viewer, qtbot):
    widget, labels = segmented
    before = labels.data
    widget.form.cellprob.setValue(1.5)
    wait(qtbot, widget)
    full = Segmenter("v3").segment(STACK.image, diameter=20, anisotropy=2.0, cellprob_threshold=1.5)
    assert np.array_equal(labels.data, full.masks)
    assert not np.array_equal(labels.data, before)
    assert len(labels.features) == full.count + 1
    assert len(viewer.layers) == 2
    widget.form.min_size.setValue(int(labels.features["volume_voxels"][1:].median()))
    wait(qtbot, widget)
    assert 0 < labels.data.max() < full.count


def test_thresholds_changed_in_quick_succession_end_with_the_last(segmented, qtbot):
    widget, labels = segmented
    for value in (0.5, 1.0, 2.0, 3.0):
        widget.form.cellprob.setValue(value)
        qtbot.wait(5)
    wait(qtbot, widget)
    assert labels.metadata["settings"]["cellprob_threshold"] == 3.0
    assert len(labels.features) == labels.data.max() + 1


def test_a_second_run_renews_the_labels_and_a_removed_layer_comes_again(segmented, viewer, qtbot):
    widget, labels = segmented
    widget.run.click()
    wait(qtbot, widget)
    assert len(viewer.layers) == 2
    viewer.layers.remove(labels)
    widget.form.cellprob.setValue(1.0)
    wait(qtbot, widget)
    assert [layer.name for layer in viewer.layers] == ["stack", "stack nuclei"]


def test_the_diameter_is_estimated_from_one_image(viewer, open_widget, qtbot):
    viewer.add_image(FLAT.image, name="flat")
    widget = open_widget()
    widget.form.estimate.click()
    wait(qtbot, widget)
    expected = Segmenter("v3").estimate_diameter(FLAT.image)
    assert widget.form.diameter.value() == pytest.approx(expected, abs=0.05)
    widget.run.click()
    wait(qtbot, widget)
    assert viewer.layers["flat nuclei"].data.shape == FLAT.image.shape


def test_modes_and_anisotropy_follow_the_layer(viewer, open_widget):
    widget = open_widget()
    assert not widget.run.isEnabled()
    add_stack(viewer)
    viewer.add_image(FLAT.image, name="flat")
    form = widget.form
    assert [form.layer.itemText(i) for i in range(form.layer.count())] == ["stack", "flat"]
    assert widget.run.isEnabled()
    assert form.anisotropy.value() == pytest.approx(2.0)
    assert form.mode.currentText() == "3d"
    assert not form.flow.isEnabled()
    form.layer.setCurrentIndex(1)
    assert form.mode.count() == 1
    assert not form.anisotropy.isEnabled()
    viewer.layers.remove("flat")
    assert form.layer.currentText() == "stack"
    assert form.mode.currentText() == "3d"


def test_a_stack_without_scale_is_warned_of(viewer, open_widget, qtbot, messages):
    viewer.add_image(STACK.image[:6, :40, :40], name="bare")
    widget = open_widget()
    widget.form.diameter.setValue(20)
    widget.run.click()
    wait(qtbot, widget)
    assert any("spacing of planes unknown" in text for text in messages())


def test_an_error_is_a_notification_with_its_text(viewer, open_widget, qtbot, messages):
    viewer.add_image(FLAT.image, name="flat")
    widget = open_widget()
    widget.form.model.setCurrentText("no_such_model")
    widget.run.click()
    wait(qtbot, widget)
    assert any("no_such_model" in text for text in messages())
    assert len(viewer.layers) == 1
    assert widget.run.isEnabled()


def test_a_defect_is_shown_too_and_the_widget_goes_on(
    viewer, open_widget, qtbot, messages, monkeypatch
):
    viewer.add_image(FLAT.image, name="flat")
    widget = open_widget()

    def break_down(*_args, **_options):
        raise RuntimeError("a defect")

    monkeypatch.setattr(widget.session, "segment", break_down)
    monkeypatch.setenv("NAPARI_CATCH_ERRORS", "1")
    widget.run.click()
    wait(qtbot, widget)
    assert any("a defect" in str(text) for text in messages())
    assert widget.run.isEnabled()


def test_an_image_without_signal_gives_no_nuclei_and_a_warning(
    viewer, open_widget, qtbot, messages
):
    viewer.add_image(np.full((40, 50), 7, np.uint8), name="grey")
    widget = open_widget()
    widget.run.click()
    wait(qtbot, widget)
    assert not viewer.layers["grey nuclei"].data.any()
    assert any("no signal" in text for text in messages())
    widget.form.cellprob.setValue(-1)
    wait(qtbot, widget)
    assert not viewer.layers["grey nuclei"].data.any()


def test_cancel_stops_the_network_and_leaves_the_viewer_as_it_was(
    viewer, open_widget, qtbot, monkeypatch
):
    add_stack(viewer)
    widget = open_widget()
    widget.form.diameter.setValue(5)  # much work: planes are enlarged
    with qtbot.waitSignal(
        widget.job.progressed, timeout=300_000, check_params_cb=lambda stage, done, _: done > 0
    ):
        widget.run.click()
    assert not widget.run.isEnabled()
    widget.cancel.click()
    wait(qtbot, widget)
    assert len(viewer.layers) == 1
    assert not widget.session.ready
    assert widget.status.text() == "stopped"
    assert widget.run.isEnabled()


def test_progress_is_shown(segmented, qtbot):
    widget, _ = segmented
    stages = []
    widget.job.progressed.connect(lambda stage, done, total: stages.append((stage, done, total)))
    widget.run.click()
    wait(qtbot, widget)
    names = [stage for stage, _, _ in stages]
    assert names[0] != names[-1]
    assert all(0 <= done <= total for _, done, total in stages)


def test_the_table_of_napari_shows_the_measurements_and_finds_the_nucleus(segmented, viewer, qtbot):
    features_table = pytest.importorskip("napari_builtins._qt.features_table")
    _, labels = segmented
    viewer.layers.selection.active = labels
    table = features_table.FeaturesTable(viewer)
    qtbot.addWidget(table)
    assert table.table.model().rowCount() == len(labels.features)
    table.table.selectRow(3)
    assert labels.selected_label == labels.features["label"][3] == 3


def test_the_plugins_menu_opens_the_widget_and_its_button_the_table(make_napari_viewer):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("fastercellpose", "Segment nuclei")
    assert isinstance(widget, SegmentWidget)
    widget.table.click()
    widget.table.click()
    assert [name for name in viewer.window.dock_widgets if name.startswith(TABLE)] != []
