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


if __name__ == "__main__":
    here = Path(__file__).parent
    onnx.save(make(), here / "tiny.onnx")
    onnx.save(make(channels=2), here / "tiny_two_channels.onnx")
    onnx.save(make(stride=2), here / "tiny_half_size.onnx")
    onnx.save(make(size=64), here / "tiny_fixed_size.onnx")
    onnx.save(
        make(),
        here / "tiny_external.onnx",
        save_as_external_data=True,
        location="tiny_external.data",
        size_threshold=0,
    )
    (here / "tiny_external.data").unlink()  # what matters is that the model asks for it
