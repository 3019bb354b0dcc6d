"""Make tiny.onnx, whose three channels are x, 2 x and 3 x - 1, and files like it that are wrong.

Run with the extra ``export``: ``python tests/data/make_tiny.py``.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def make(channels: int = 3, size: str | int = "H", stride: int = 1) -> onnx.ModelProto:
    """Return a 1x1 convolution whose channel c is ``(c + 1) x``, and 1 less for the third."""
    outputs, strides = ((size, "W"), {}) if stride == 1 else (("P", "Q"), {"strides": [stride] * 2})
    weight = np.arange(1, channels + 1, dtype=np.float32).reshape(channels, 1, 1, 1)
    bias = np.array([0, 0, -1], np.float32)[:channels]
    graph = helper.make_graph(
        [
            helper.make_node(
                "Conv",
                ["image", "weight", "bias"],
                ["fields"],
                kernel_shape=[1, 1],
                **strides,
            )
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, size, "W"])],
        [helper.make_tensor_value_info("fields", TensorProto.FLOAT, ["N", channels, *outputs])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"diam_mean": "12.5"})
    onnx.checker.check_model(model)
    return model


def of_some_width(wrong: str) -> onnx.ModelProto:
    """Return a model that is right where tiles are 72 wide, else has no numbers or less columns."""
    nodes = [
        helper.make_node("Concat", ["image", "image", "image"], ["maps"], axis=1),
        helper.make_node("Shape", ["image"], ["width"], start=3, end=4),
        helper.make_node("Equal", ["width", "usual"], ["same"]),
        helper.make_node("Where", ["same", "width", "less"], ["kept"]),
        helper.make_node("Where", ["same", "zero", "none"], ["added"]),
        helper.make_node("Slice", ["maps", "begin", "kept", "axis"], ["cut"]),
        helper.make_node("Add", ["cut", "added"], ["fields"]),
    ]
    values = {
        "usual": np.array([72]),
        "less": np.array([8 if wrong == "size" else 2**40]),
        "none": np.array([np.nan if wrong == "numbers" else 0], np.float32),
        "zero": np.zeros(1, np.float32),
        "begin": np.array([0]),
        "axis": np.array([3]),
    }
    return finished(nodes, values, "P")


def endless() -> onnx.ModelProto:
    """Return a model whose loop never ends."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [info("count", TensorProto.INT64, []), info("go", TensorProto.BOOL, [])],
        [info("on", TensorProto.BOOL, [])],
    )
    nodes = [
        helper.make_node("Loop", ["trips", "always"], [], body=body),
        helper.make_node("Concat", ["image", "image", "image"], ["fields"], axis=1),
    ]
    return finished(nodes, {"trips": np.array(2**62), "always": np.array(True)}, "W")


def finished(
    nodes: list[onnx.NodeProto], values: dict[str, np.ndarray], width: str
) -> onnx.ModelProto:
    """Return a model of the documented form that consists of these nodes."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("fields", TensorProto.FLOAT, ["N", 3, "H", width])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"diam_mean": "12.5"})
    return model


if __name__ == "__main__":
    here = Path(__file__).parent
    onnx.save(make(), here / "tiny.onnx")
    onnx.save(make(channels=2), here / "tiny_two_channels.onnx")
    onnx.save(make(stride=2), here / "tiny_half_size.onnx")
    onnx.save(make(size=64), here / "tiny_fixed_size.onnx")
    onnx.save(endless(), here / "tiny_endless.onnx")
    onnx.save(of_some_width("size"), here / "tiny_other_size.onnx")
    onnx.save(of_some_width("numbers"), here / "tiny_other_numbers.onnx")
    onnx.save(
        make(),
        here / "tiny_external.onnx",
        save_as_external_data=True,
        location="tiny_external.data",
        size_threshold=0,
    )
    (here / "tiny_external.data").unlink()  # what matters is that the model asks for it
