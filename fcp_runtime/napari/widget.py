"""The widget: a form, and what its buttons do in the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Slot
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from fcp_runtime.napari.form import Form
from fcp_runtime.napari.job import Job
from fcp_runtime.napari.layers import anisotropy_of, features_of, place_of, volume_of
from fcp_runtime.napari.session import Session
from fcp_runtime.outputs.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from fcp_runtime.machine.workers import Progress
    from fcp_runtime.segmentation import Segmentation

    Tell = Callable[[Any], None]

TABLE = "Features table widget"
"""The table of napari itself, which shows the features of the layer that is selected."""


class SegmentWidget(QWidget):
    """Segment the nuclei of an image layer into a labels layer with measurements.

    Thresholds act at once on the fields of the last segmentation; whatever else is changed takes
    effect with the button.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.session = Session()
        self.job = Job()
        self.form = Form()
        self.run = QPushButton("Segment")
        self.cancel = QPushButton("Cancel")
        self.table = QPushButton("Table")
        self.table.setToolTip("Show the measurements of the selected labels layer")
        self.bar = QProgressBar()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self._image: Image | None = None
        self._labels: Labels | None = None
        self._stale = False  # thresholds have changed while work was under way
        self._long = False  # that work is more than the masks
        self._lay_out()
        self.run.clicked.connect(self._segment)
        self.cancel.clicked.connect(self._cancel)
        self.table.clicked.connect(self._show_table)
        self.form.estimate.clicked.connect(self._estimate)
        self.form.thresholds_changed.connect(self._threshold)
        self.job.progressed.connect(self._show_progress)
        self.job.told.connect(self._take)
        self.job.ended.connect(self._end)
        self.reset_choices()
        self._end()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button in (self.run, self.cancel, self.table):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.addWidget(self.form)
        column.addLayout(buttons)
        column.addWidget(self.bar)
        column.addWidget(self.status)
        column.addStretch()

    def reset_choices(self, _event: Any = None) -> None:
        """Offer the image layers that there are; napari calls it when layers change."""
        self.form.offer([layer for layer in self._viewer.layers if isinstance(layer, Image)])
        self.run.setEnabled(self.form.layer.currentData() is not None and not self.job.running)

    @Slot()
    def _estimate(self) -> None:
        layer, model, options = self._question()
        options["diameter"] = None

        def work(_progress: Progress, tell: Tell) -> None:
            tell(self.session.estimate(volume_of(layer), model, **options))

        self._begin("estimating the diameter", work)

    @Slot()
    def _segment(self) -> None:
        layer, model, options = self._question()
        thresholds = self.form.thresholds()
        if options["mode"] == "3d" and options["anisotropy"] == 1 and anisotropy_of(layer) is None:
            show_warning(
                f"{layer.name}: spacing of planes unknown, taken as that of pixels; set the "
                "layer's scale, or the anisotropy"
            )

        def work(progress: Progress, tell: Tell) -> None:
            volume = volume_of(layer)
            result = self.session.segment(volume, model, thresholds, progress, **options)
            tell((layer, result))
            tell(self.session.measure(result))

        self._begin("reading", work)

    @Slot()
    def _threshold(self) -> None:
        """Make masks anew; what is asked for while others are made comes after them."""
        if not self.session.ready or self._image is None:
            return
        if self.job.running:
            self._stale = True
            if not self._long:
                self.job.stop()
            return
        thresholds, layer = self.form.thresholds(), self._image

        def work(progress: Progress, tell: Tell) -> None:
            result = self.session.again(thresholds, progress)
            tell((layer, result))
            tell(self.session.measure(result))

        self._begin("masks", work, long=False)

    def _question(self) -> tuple[Any, str, Any]:
        return self.form.layer.currentData(), self.form.model.currentText(), self.form.options()

    def _begin(
        self, what: str, work: Callable[[Progress, Tell], None], *, long: bool = True
    ) -> None:
        self._long = long
        for button in (self.run, self.form.estimate):
            button.setEnabled(False)
        self.cancel.setEnabled(True)
        self.status.setText(what)
        self.bar.setRange(0, 0)
        self.job.start(work)

    @Slot()
    def _cancel(self) -> None:
        self._stale = False
        self.job.stop()
        self.status.setText("stopping")

    @Slot(str, int, int)
    def _show_progress(self, stage: str, done: int, total: int) -> None:
        self.bar.setRange(0, max(total, 1))
        self.bar.setValue(done)
        self.status.setText(stage)

    @Slot(object)
    def _take(self, value: Any) -> None:
        """Show what the work tells: a diameter, masks of a layer, or their measurements."""
        if isinstance(value, float):
            self.form.diameter.setValue(value)
            self.status.setText(f"diameter {value:.1f} pixels")
        elif isinstance(value, Table):
            if self._labels is not None:
                self._labels.features = features_of(value)
        else:
            self._show_masks(*value)

    def _show_masks(self, image: Image, result: Segmentation) -> None:
        if image is not self._image or self._labels not in self._viewer.layers:
            self._labels = None
        self._image = image
        if self._labels is None:
            self._labels = Labels(
                result.masks, name=f"{image.name} nuclei", opacity=0.5, **place_of(image)
            )
            self._viewer.add_layer(self._labels)
        else:
            self._labels.features = {}  # those of the masks before are true no more
            self._labels.data = result.masks
        self._labels.metadata["settings"] = result.settings.as_dict()
        size = result.settings.diameter
        at = "" if size is None else f" at a diameter of {size:.1f} pixels"
        self.status.setText(f"{result.count} nuclei{at}")

    @Slot()
    def _end(self) -> None:
        """Be ready for the next question, or ask it, if thresholds have changed meanwhile."""
        there = self.form.layer.currentData() is not None
        for button in (self.run, self.form.estimate):
            button.setEnabled(there)
        self.cancel.setEnabled(False)
        self.bar.setRange(0, 1)
        self.bar.setValue(0)
        if self.job.stopping and not self._stale:
            self.status.setText("stopped")
        if self._stale:
            self._stale = False
            self._threshold()

    @Slot()
    def _show_table(self) -> None:
        if self._labels is not None and self._labels in self._viewer.layers:
            self._viewer.layers.selection.active = self._labels
        try:
            self._viewer.window.add_plugin_dock_widget("napari", TABLE, tabify=False)
        except ValueError as error:
            show_error(f"this version of napari has no table of features ({error})")
