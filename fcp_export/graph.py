"""Writes an ONNX graph, operator by operator.

By hand, not traced: every operator is there for a reason, the bytes do not depend on the version of
an exporter, and shapes keep their symbols (``H/2``), by which onnxruntime knows that two maps are of
one size and adds one to the other inside a convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fcp_export.fold import Array, Doubling, Kernel

OPSET = 17
IR_VERSION = 8
DEEPEST = 3
"""Level of the smallest maps: an eighth of the input's height and width."""

MANY = 128
"""Channels from which one large matrix product and a pass over memory beat a product for each row."""

ROWS = 4
"""Neighbouring rows that the head's convolution counts as channels."""


@dataclass(frozen=True)
class Map:
    """A map in the graph, (N, channels, H / 2**level, W / 2**level)."""

    name: str
    channels: int
    level: int


class GraphWriter:
    """Collects operators, named by their outputs; `model` makes a file of them."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.shapes: dict[str, ValueInfoProto] = {}

    def constant(self, name: str, numbers: Any, dtype: type = np.float32) -> str:
        """Store an array; return its name."""
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(numbers, dtype), name)
        return name

    def integers(self, *values: int) -> str:
        """Store a vector of integers; return its name."""
        return self.constant("integers." + ".".join(map(str, values)), values, np.int64)

    def operator(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append an operator of one output; return the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def shaped(self, name: str, channels: int, level: int) -> Map:
        """State the shape of a map."""
        height, width = (f"{axis}/{2**level}" if level else axis for axis in "HW")
        shape = ["N", channels, height, width]
        self.shapes[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        return Map(name, channels, level)

    def sizes(self) -> None:
        """Write height and width of each level, from the input: ``size0`` to ``size3``."""
        self.operator("Shape", ["image"], "size0", start=2, end=4)
        for level in range(1, DEEPEST + 1):
            self.operator("Div", ["size0", self.integers(2**level)], f"size{level}")

    def activated_image(self, scale: Array, offset: Array) -> Map:
        """Write the batch norm and ReLU of the input's channels, those after the first being 0.

        Parameters
        ----------
        scale, offset : ndarray, shape (C,)
        """
        image = "image"
        factor = np.where(np.arange(len(scale)) == 0, scale, 0)
        if (factor != 1).any():
            factors = self.constant("image.scale", factor[:, None, None])
            image = self.operator("Mul", [image, factors], "image.scaled")
        summand = self.constant("image.offset", offset[:, None, None])
        self.operator("Add", [image, summand], "image.shifted")
        self.operator("Relu", ["image.shifted"], "image.active")
        return self.shaped("image.active", len(scale), 0)

    def convolution(
        self, x: Map, kernel: Kernel, name: str, *, add: Map | None = None, relu: bool = False
    ) -> Map:
        """Write a convolution, a sum with a map, a ReLU: onnxruntime makes one of the three."""
        channels, edge = len(kernel.bias), kernel.weight.shape[2]
        factors = [
            self.constant(f"{name}.weight", kernel.weight),
            self.constant(f"{name}.bias", kernel.bias),
        ]
        self.operator(
            "Conv",
            [x.name, *factors],
            name,
            kernel_shape=[edge, edge],
            dilations=[kernel.dilation] * 2,
            pads=[kernel.dilation * (edge // 2)] * 4,
            group=channels if kernel.depthwise else 1,
        )
        out = self.shaped(name, channels, x.level)
        if add is not None:
            self.operator("Add", [out.name, add.name], f"{name}.sum")
            out = self.shaped(f"{name}.sum", channels, x.level)
        if relu:
            self.operator("Relu", [out.name], f"{name}.relu")
            out = self.shaped(f"{name}.relu", channels, x.level)
        return out

    def strided(self, weight: Array, bias: Array, name: str) -> Map:
        """Write a convolution of the image with stride 2 and a ReLU, to level 1.

        Parameters
        ----------
        weight : ndarray, shape (O, 1, k, k)
            k is even; the output pixel lies in the middle of its kernel.
        bias : ndarray, shape (O,)
        name : str
        """
        edge = weight.shape[2]
        factors = [
            self.constant(f"{name}.weight", weight),
            self.constant(f"{name}.bias", bias),
        ]
        self.operator(
            "Conv",
            ["image", *factors],
            name,
            kernel_shape=[edge, edge],
            pads=[edge // 2 - 1] * 4,
            strides=[2, 2],
        )
        return self.relu(self.shaped(name, len(bias), 1), f"{name}.relu")

    def added(self, x: Map, other: Map, name: str) -> Map:
        """Write the sum of two maps of one shape."""
        return self.shaped(self.operator("Add", [x.name, other.name], name), x.channels, x.level)

    def unfolded(self, x: Map, factor: int, name: str) -> Map:
        """Write channels as ``factor`` x ``factor`` pixels (torch's pixel_shuffle)."""
        self.operator("DepthToSpace", [x.name], name, blocksize=factor, mode="CRD")
        level = x.level - factor.bit_length() + 1
        return self.shaped(name, x.channels // factor**2, level)

    def pooled(self, x: Map, name: str) -> Map:
        """Write a 2x2 maximum."""
        self.operator("MaxPool", [x.name], name, kernel_shape=[2, 2], strides=[2, 2])
        return self.shaped(name, x.channels, x.level + 1)

    def relu(self, x: Map, name: str) -> Map:
        """Write a ReLU by itself."""
        return self.shaped(self.operator("Relu", [x.name], name), x.channels, x.level)

    def head(self, x: Map, kernel: Kernel, name: str) -> Map:
        """Write a pointwise convolution to few channels.

        onnxruntime fills up the outputs of a convolution to 16 channels. If neighbouring rows count
        as channels, most of them are of use: less is written, and rows are put in order as a whole.
        """
        outputs = len(kernel.bias)
        weight = np.zeros((outputs, ROWS, x.channels, ROWS, 1))
        for row in range(ROWS):
            weight[:, row, :, row] = kernel.weight[:, :, 0]
        factors = [
            self.constant(f"{name}.weight", weight.reshape(-1, x.channels, ROWS, 1)),
            self.constant(f"{name}.bias", np.repeat(kernel.bias, ROWS)),
        ]
        edges = [ROWS, 1]
        self.operator(
            "Conv", [x.name, *factors], f"{name}.fours", kernel_shape=edges, strides=edges
        )
        self.operator("Shape", [f"{name}.fours"], f"{name}.size", start=2)
        form = [self.integers(0, outputs, ROWS), f"{name}.size"]
        self.operator("Concat", form, f"{name}.form", axis=0)
        self.operator("Reshape", [f"{name}.fours", f"{name}.form"], f"{name}.apart")
        self.operator("Transpose", [f"{name}.apart"], f"{name}.rows", perm=[0, 1, 3, 2, 4])
        self.operator("Concat", [self.integers(0, outputs), "size0"], f"{name}.whole", axis=0)
        self.operator("Reshape", [f"{name}.rows", f"{name}.whole"], name)
        return self.shaped(name, outputs, x.level)

    def enlarged(self, x: Map, level: int, name: str) -> Map:
        """Write nearest-neighbour enlargement to a finer level."""
        factor = 2 ** (x.level - level)
        self.operator(
            "Resize",
            [x.name, "", self.constant(f"enlarge.{factor}", [1, 1, factor, factor])],
            name,
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        return self.shaped(name, x.channels, level)

    def doubled(self, x: Map, up: Doubling, name: str, style: str | None = None) -> Map:
        """Write a transposed 2x2 convolution as a matrix product over channels-last rows.

        A row of w pixels gives two: the product of (w, I) with each of two (I, 2 O), which lies in
        memory as the row of 2 w pixels of O channels that is wanted, so no pixel has to move.

        Parameters
        ----------
        x : Map
        up : Doubling
            Its bias is left out: it must be in ``style`` or in what follows.
        name : str
        style : str, optional
            Numbers (N, 4 O) to add, by row parity, column parity and channel.
        """
        level, channels = x.level - 1, up.weight.shape[2]
        self.operator("Transpose", [x.name], f"{name}.last", perm=[0, 2, 3, 1])
        pairs = self._few if x.channels < MANY else self._many
        size = [self.integers(0), f"size{level}", self.integers(channels)]
        self.operator("Concat", size, f"{name}.form", axis=0)
        self.operator("Reshape", [pairs(up, name, style), f"{name}.form"], f"{name}.pixels")
        self.operator("Transpose", [f"{name}.pixels"], name, perm=[0, 3, 1, 2])
        return self.shaped(name, channels, level)

    def _few(self, up: Doubling, name: str, style: str | None) -> str:
        """Write a product for each row of the finer level, (N, h, 2, w, 2 O)."""
        _, _, outputs, inputs = up.weight.shape
        matrices = up.weight.transpose(0, 3, 1, 2).reshape(2, inputs, 2 * outputs)
        self.operator("Unsqueeze", [f"{name}.last", self.integers(2)], f"{name}.rows")
        factors = [f"{name}.rows", self.constant(f"{name}.weight", matrices)]
        pairs = self.operator("MatMul", factors, f"{name}.pairs")
        if style is None:
            return pairs
        # spread along a row, so that the sum runs over long stretches
        form = self.integers(-1, 1, 2, 1, 2 * outputs)
        self.operator("Reshape", [style, form], f"{name}.block")
        self.operator("Shape", [pairs], f"{name}.row", start=2)
        self.operator("Expand", [f"{name}.block", f"{name}.row"], f"{name}.style")
        return self.operator("Add", [pairs, f"{name}.style"], f"{name}.styled")

    def _many(self, up: Doubling, name: str, style: str | None) -> str:
        """Write one product for all pixels, and move its halves into rows, (N, h, 2, w, 2 O)."""
        _, _, outputs, inputs = up.weight.shape
        matrix = up.weight.transpose(3, 0, 1, 2).reshape(inputs, 4 * outputs)
        factors = [f"{name}.last", self.constant(f"{name}.weight", matrix)]
        fours = self.operator("MatMul", factors, f"{name}.fours")
        if style is not None:
            form = self.integers(-1, 1, 1, 4 * outputs)
            self.operator("Reshape", [style, form], f"{name}.style")
            fours = self.operator("Add", [fours, f"{name}.style"], f"{name}.styled")
        self.operator("Reshape", [fours, self.integers(0, 0, 0, 2, -1)], f"{name}.halves")
        return self.operator("Transpose", [f"{name}.halves"], f"{name}.pairs", perm=[0, 1, 3, 2, 4])

    def style(self, deepest: Map) -> str:
        """Write the style vector of `units.style_vector`; return its name, (N, channels)."""
        self.operator("GlobalAveragePool", [deepest.name], "style.average")
        self.operator("Flatten", ["style.average"], "style.mean")
        self.operator("Mul", ["style.mean", "style.mean"], "style.square")
        self.operator("ReduceSum", ["style.square", self.integers(1)], "style.sum")
        self.operator("Add", ["style.sum", self.constant("style.epsilon", [1e-12])], "style.safe")
        self.operator("Sqrt", ["style.safe"], "style.norm")
        return self.operator("Div", ["style.mean", "style.norm"], "style")

    def linear(self, x: str, weight: Array, bias: Array, name: str) -> str:
        """Write a linear layer, (N, I) to (N, O); return its name."""
        factors = [self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.operator("Gemm", [x, *factors], name, transB=1)

    def spread(self, x: str, channels: int, name: str) -> Map:
        """Write numbers (N, channels) as a map of the deepest level, the same everywhere."""
        size = [self.integers(1, 1), f"size{DEEPEST}"]
        self.operator("Unsqueeze", [x, self.integers(2, 3)], f"{name}.pixel")
        self.operator("Concat", size, f"{name}.form", axis=0)
        self.operator("Expand", [f"{name}.pixel", f"{name}.form"], name)
        return self.shaped(name, channels, DEEPEST)

    def model(self, metadata: Mapping[str, str]) -> ModelProto:
        """Return the file: input ``image`` (N, 1, H, W), output ``fields`` (N, 3, H, W)."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, "H", "W"])
        fields = self.shapes.pop("fields")
        graph = helper.make_graph(
            self.nodes,
            "fcp_export",
            [image],
            [fields],
            list(self.constants.values()),
            value_info=list(self.shapes.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="fcp_export",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, dict(metadata))
        return model
