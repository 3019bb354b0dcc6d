"""The settings as a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSpinBox,
    QWidget,
)

from fcp_runtime.napari.layers import anisotropy_of
from fcp_runtime.napari.session import Thresholds
from fcp_runtime.network.registry import list_models
from fcp_runtime.settings import ROWS, Mode, Options, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

FLAT: tuple[Mode, ...] = ("2d",)
STACK: tuple[Mode, ...] = ("3d", "stitch", "2d")
"""Modes for a stack, the usual one first."""


class Form(QWidget):
    """Layer, model and settings; ``thresholds_changed`` says that only the masks are to be redone."""

    thresholds_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        usual = Settings()
        self.layer = QComboBox()
        self.model = QComboBox()
        self.model.addItems([model.key for model in list_models()])
        self.model.setCurrentText(usual.model)
        self.model.setEditable(True)
        self.model.setToolTip("A shipped model, or the path of an ONNX file of your own")
        self.mode = QComboBox()
        self.mode.setToolTip(
            "3d: flows of three orthogonal views; stitch: planes, then linked by overlap; "
            "2d: each plane by itself"
        )
        self.diameter = _number("diameter", 0, 1)
        self.diameter.setSpecialValueText("estimated")
        self.diameter.setToolTip("Mean diameter of a nucleus in pixels (xy); 0 estimates it")
        self.estimate = QPushButton("Estimate")
        self.anisotropy = _number("anisotropy", 1, 3)
        self.anisotropy.setToolTip("Spacing of planes / spacing of pixels; from the layer's scale")
        self.cellprob = _number("cellprob_threshold", usual.cellprob_threshold, 2)
        self.flow = _number("flow_threshold", usual.flow_threshold, 2)
        self.min_flow = _number("min_flow", -0.05, 2)
        self.min_flow.setSpecialValueText("by mode")
        self.min_size = QSpinBox()
        low, high, _ = _range("min_size")
        self.min_size.setRange(int(low), int(high))
        self.min_size.setValue(-1)
        self.min_size.setSpecialValueText("by diameter")
        self.min_size.setKeyboardTracking(False)
        self.min_size.setToolTip(f"{ROWS['min_size'].help} -1 follows the diameter.")
        self._lay_out()
        for box in (self.cellprob, self.flow, self.min_flow, self.min_size):
            box.valueChanged.connect(self.thresholds_changed)
        self.layer.currentIndexChanged.connect(self.follow_layer)
        self.mode.currentTextChanged.connect(self._follow_mode)
        self.follow_layer()

    def _lay_out(self) -> None:
        diameter = QHBoxLayout()
        diameter.addWidget(self.diameter, 1)
        diameter.addWidget(self.estimate)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        for name, field in (
            ("image", self.layer),
            ("model", self.model),
            ("mode", self.mode),
            ("diameter", diameter),
            ("anisotropy", self.anisotropy),
            ("cellprob threshold", self.cellprob),
            ("flow threshold", self.flow),
            ("min flow", self.min_flow),
            ("min size", self.min_size),
        ):
            form.addRow(name, field)

    def offer(self, layers: Iterable[Any]) -> None:
        """Offer these image layers; the one that is chosen stays so."""
        chosen = self.layer.currentData()
        self.layer.blockSignals(True)
        self.layer.clear()
        for layer in layers:
            self.layer.addItem(layer.name, layer)
            if layer is chosen:
                self.layer.setCurrentIndex(self.layer.count() - 1)
        self.layer.blockSignals(False)
        if self.layer.currentData() is not chosen:
            self.follow_layer()

    def follow_layer(self) -> None:
        """Take modes and anisotropy from the layer that is chosen."""
        layer = self.layer.currentData()
        stack = layer is not None and layer.ndim > 2 and layer.data.shape[0] > 1
        self.mode.clear()
        self.mode.addItems(STACK if stack else FLAT)
        self.anisotropy.setValue((layer is not None and anisotropy_of(layer)) or 1.0)
        self.estimate.setEnabled(layer is not None)

    def _follow_mode(self, mode: str) -> None:
        self.anisotropy.setEnabled(mode == "3d")
        self.flow.setEnabled(mode != "3d")

    def options(self) -> Options:
        """Return the settings that the fields depend on."""
        mode: Any = self.mode.currentText()
        return {
            "mode": mode,
            "diameter": self.diameter.value() or None,
            "anisotropy": self.anisotropy.value() if mode == "3d" else None,
        }

    def thresholds(self) -> Thresholds:
        """Return the settings of the mask stage."""
        flow, size = self.min_flow.value(), self.min_size.value()
        return Thresholds(
            self.cellprob.value(),
            self.flow.value(),
            None if flow < 0 else flow,
            None if size < 0 else size,
        )


def _range(name: str) -> tuple[float, float, float]:
    """Return least and largest value and step of a setting's box."""
    widget = ROWS[name].widget
    if widget is None:
        raise AssertionError(f"the row of {name} has no widget")
    return widget


def _number(name: str, value: float, decimals: int) -> QDoubleSpinBox:
    """Return the box of a setting, with the range and the help of its row."""
    low, high, step = _range(name)
    box = QDoubleSpinBox()
    box.setDecimals(decimals)
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setValue(value)
    box.setKeyboardTracking(False)
    box.setToolTip(ROWS[name].help)
    return box
