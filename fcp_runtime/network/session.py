"""Run a model with onnxruntime on the CPU."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fcp_runtime.errors import ModelError

if TYPE_CHECKING:
    from fcp_runtime.network.registry import Model

NetworkCall = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""A tile (1, 1, H, W) to flow down, flow right and logit (3, H, W); called from several threads."""


LOOPS = (b"\x22\x04Loop", b"\x22\x04Scan", b"\x22\x0bSequenceMap")
"""Operators that repeat others, as the field ``op_type`` of a node is stored."""


class Network:
    """A model that is ready to see tiles, from any number of threads at once.

    One session with one thread of its own serves them all: threads are the caller's, so that the
    result does not depend on their number.

    Parameters
    ----------
    model : Model
        From `load_model`.

    Attributes
    ----------
    info : ModelInfo
        What is known about the model.
    diam_mean : float
        Object diameter that the network expects, in network pixels.

    Raises
    ------
    ModelError
        If the file is not an ONNX model of the documented form.
    """

    def __init__(self, model: Model) -> None:
        self.info = model.info
        self.diam_mean = model.info.diam_mean
        self._model = model
        self._session = open_session(model.content, model.info.file)

    def __reduce__(self) -> tuple[type[Network], tuple[Model]]:
        """Pickle the model's bytes: whoever unpickles them has the same model, wherever that is."""
        return Network, (self._model,)

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return flow down, flow right (a unit vector is 5) and logit of a tile.

        Parameters
        ----------
        tile : ndarray of float32, shape (1, 1, H, W)
            Normalised pixels; H and W are multiples of ``info.multiple``.

        Returns
        -------
        ndarray of float32, shape (3, H, W)

        Raises
        ------
        ModelError
            If the model cannot compute this tile, or makes something else of it than three finite
            maps of its size: a file that was tried out on one size may fail at another.
        """
        return run_tile(self._session, tile, self.info.file)


def run_tile(session: Any, tile: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Return the maps of a tile, checked; parameters and errors as of `Network`.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    tile : ndarray of float32, shape (1, 1, H, W)
    name : str
        Of the model, for messages.

    Returns
    -------
    ndarray of float32, shape (3, H, W)
    """
    height, width = tile.shape[2:]
    try:
        (output,) = session.run(None, {"image": tile})
    except Exception as error:
        reason = " ".join(str(error).split())[-200:]
        raise ModelError(
            f"{name}: cannot compute a tile of {height}x{width} pixels ({reason})"
        ) from error
    if output.shape != (1, 3, height, width):
        raise ModelError(
            f"{name}: makes {'x'.join(map(str, output.shape))} of a tile of {height}x{width} "
            "pixels; needed are three maps of the tile's size"
        )
    maps: NDArray[np.float32] = output[0]
    with np.errstate(over="ignore", invalid="ignore"):
        finite = math.isfinite(maps.sum())  # one value that is not finite makes the sum so
    if not finite:
        raise ModelError(
            f"{name}: makes values that are not finite of a tile of {height}x{width} pixels: was "
            "its training lost, or is a pixel immensely bright?"
        )
    return maps


def load_engine() -> Any:
    """Return onnxruntime, which is imported nowhere else, with its telemetry switched off.

    Since version 1.32 it would keep a device number and a queue of events in the user's cache folder and send
    them to its maker. It reads the environment as it is loaded; a process that loaded it before us
    has its telemetry switched off from here on.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def open_session(content: bytes, name: str) -> Any:
    """Return an onnxruntime session of a model of the documented form.

    Parameters
    ----------
    content : bytes
        The ONNX file.
    name : str
        Its name, for messages.

    Raises
    ------
    ModelError
        If the file is no ONNX model, keeps weights in another file, has a loop, or has other
        inputs and outputs than ``image`` float32 (N, 1, H, W) and one float32 (N, 3, H, W).
    """
    for operator in LOOPS:
        if operator in content:
            raise ModelError(
                f"{name}: has the operator {operator[2:].decode()}, which may never end; a network "
                "of convolutions needs none: export it without loops"
            )
    onnxruntime = load_engine()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = False  # it would keep one for each of many tile shapes
    options.log_severity_level = 4  # a failure is raised: it need not be printed too
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(
            f"{name}: onnxruntime cannot load it; {_reason(error, content)}"
        ) from error
    _check_form(session, name)
    return session


def _reason(error: Exception, content: bytes) -> str:
    """Say in a line what onnxruntime has against a file, and what to do."""
    if b"\x0a\x08location\x12" in content:  # the key of a tensor's external data
        return "its weights lie in another file: save it as one file, without external data"
    return f"is it a whole ONNX file? ({' '.join(str(error).split())[-200:]})"


def _check_form(session: Any, name: str) -> None:
    """Raise ModelError unless inputs and outputs are the documented ones."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if (
        [node.name for node in inputs] == ["image"]
        and len(outputs) == 1
        and _has_form(inputs[0], 1)
        and _has_form(outputs[0], 3)
    ):
        return
    found = "; ".join(
        f"{kind} {node.name} {node.type} {node.shape}"
        for kind, nodes in (("input", inputs), ("output", outputs))
        for node in nodes
    )
    raise ModelError(
        f"{name}: needed are one input image float32 [N, 1, H, W] and one output float32 "
        f"[N, 3, H, W] with free H and W, it has {found}"
    )


def _has_form(node: Any, channels: int) -> bool:
    """Tell whether a node is float32 (N, channels, H, W) with free H and W."""
    if node.type != "tensor(float)" or len(node.shape) != 4:
        return False
    batch, found, height, width = node.shape
    free = not any(isinstance(size, int) for size in (height, width))
    return free and found == channels and (batch == 1 or not isinstance(batch, int))
