"""The ONNX graph computes what the network computes, in the documented form."""

from __future__ import annotations

from dataclasses import replace

import formula
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fcp_export.architectures.networks import SPECS, CellposeNet
from fcp_export.architectures.units import StyleUnit
from fcp_export.export import onnx_bytes
from fcp_export.network_graph import FAR, NetworkWriter, carried


def run(content: bytes, image: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


@torch.inference_mode()
def by_torch(net, image: np.ndarray) -> np.ndarray:
    tensor = torch.from_numpy(image)
    return net(torch.cat((tensor, torch.zeros_like(tensor)), 1)).numpy()


def assert_equal(net, *shapes: tuple[int, ...]) -> None:
    content = onnx_bytes(net)
    for shape in shapes:
        image = 1.4 * formula.uniform("graph", shape) - 0.2
        wanted = by_torch(net, image)
        limit = max(1e-4, 1e-5 * np.abs(wanted).max())
        np.testing.assert_allclose(run(content, image), wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("key", SPECS)
def test_the_graph_equals_the_network_at_any_size(key, make_net):
    least = SPECS[key].multiple
    shapes = (1, 1, 64, 64), (1, 1, least, least), (3, 1, 3 * least, 5 * least)
    assert_equal(make_net(key), *shapes)


@pytest.mark.parametrize("key", ["v3", "v1", "v2", "fastcellpose"])
def test_negative_batch_norm_scales_change_nothing(key, make_net):
    net = make_net(key)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data[::3] *= -1
    assert_equal(net, (2, 1, 40, 24))


@pytest.mark.parametrize("key", ["v3", "v1", "cellpose"])
@pytest.mark.parametrize("offset", [-0.3, 0.0, 0.3])
def test_the_zero_channel_counts_as_the_network_counts_it(key, offset, make_net):
    """Behind the first batch norm it is a constant, and zero again beyond the border."""
    net = make_net(key)
    norm = net.downsample.down[0].conv[0][0]
    norm.bias.data[1] = offset
    norm.running_mean[1] = 0
    assert_equal(net, (1, 1, 16, 24))
    first = next(n for n in onnx.load_from_string(onnx_bytes(net)).graph.initializer
                 if n.name == "down0.conv0.weight")  # fmt: skip
    assert first.dims[1] == (2 if offset > 0 else 1)


def test_a_blank_image_gives_finite_fields(make_net):
    image = np.zeros((1, 1, 16, 16), np.float32)
    net = make_net("v3")
    found = run(onnx_bytes(net), image)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, by_torch(net, image), atol=1e-4)


def test_the_skip_maps_carry_scales_only_where_all_are_positive(make_net):
    net = make_net("v3")
    assert all(held is not None for held in carried(net)[:3])
    net.upsample.up[1].conv[0].conv[0].weight.data[5] = 0
    assert [held is None for held in carried(net)] == [False, True, False, True]
    assert carried(make_net("v2")) == [None] * 4


@pytest.mark.parametrize("key", ["v3", "fastcellpose"])
@pytest.mark.parametrize("scale", [0.5, -0.5, 0.0, 0.02 / FAR, 1e-30])
def test_a_scale_follows_its_relu_only_where_no_digits_are_lost(key, scale, make_net):
    net = make_net(key)
    for level in (0, 1, 2, 3):
        norm = net.downsample.down[level].conv[0][0]
        norm.running_var.fill_(1 - norm.eps)
        norm.running_mean.zero_()
        norm.weight.data.fill_(1.0)
        norm.weight.data[0] = scale
        norm.bias.data.fill_(0.1)
    shifted = [held.shifted for held in carried(net) if held is not None]
    assert shifted == [scale == 0.5] * 3
    assert_equal(net, (2, 1, 24, 40))


@pytest.mark.parametrize("key", SPECS)
def test_the_file_has_the_documented_form(key, make_net):
    net = make_net(key)
    content = onnx_bytes(net)
    model = onnx.load_from_string(content)
    assert model.ir_version <= 10
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    (image,), (fields,) = model.graph.input, model.graph.output
    assert image.name == "image"
    for value, channels in ((image, 1), (fields, 3)):
        form = value.type.tensor_type
        assert form.elem_type == onnx.TensorProto.FLOAT
        dims = [dim.dim_param or dim.dim_value for dim in form.shape.dim]
        assert dims == ["N", channels, "H", "W"]
    beyond = {} if SPECS[key].multiple == 8 else {"multiple": str(SPECS[key].multiple)}
    assert {entry.key: entry.value for entry in model.metadata_props} == beyond | {
        "key": key,
        "diam_mean": "17.0",
        "parameters": str(SPECS[key].parameters),
        "made_with": "fcp-export",
    }
    assert onnx_bytes(net) == content


@pytest.mark.parametrize("key", ["v3", "v2", "v1", "v4"])
def test_every_stated_shape_is_true(key, make_net):
    """onnxruntime trusts them: by their symbols it adds maps inside convolutions."""
    model = onnx.load_from_string(onnx_bytes(make_net(key)))
    stated = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in model.graph.value_info
    }
    assert len(stated) > 25
    known = {"N": 2}
    for axis, edge in (("H", 32), ("W", 48)):
        known |= {axis: edge} | {f"{axis}/{n}": edge // n for n in (2, 4, 8, 16)}
    while model.graph.value_info:
        model.graph.value_info.pop()
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in stated)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = session.run(list(stated), {"image": np.zeros((2, 1, 32, 48), np.float32)})
    for (name, dims), array in zip(stated.items(), found, strict=True):
        assert array.shape == tuple(known.get(dim, dim) for dim in dims), name


@pytest.mark.parametrize("key", SPECS)
def test_no_batch_norm_is_left(key, make_net):
    model = onnx.load_from_string(onnx_bytes(make_net(key)))
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_the_idle_projection_of_v3_is_left_out(make_net):
    net = make_net("v3")
    kept = onnx_bytes(net)
    for name, parameter in net.named_parameters():
        if ".proj." in name:
            parameter.data.fill_(float("nan"))
    assert onnx_bytes(net) == kept


@pytest.mark.parametrize(
    ("key", "idle"),
    [
        ("v3", {"proj"}),
        ("v2", {"upsample.doubling.0", "upsample.doubling.1", "upsample.doubling.3"}),
        ("fastcellpose", set()),
    ],
)
def test_every_weight_that_has_a_part_is_in_the_graph(key, idle):
    def constants() -> dict[str, bytes]:
        return {k: v.raw_data for k, v in NetworkWriter(net).write().constants.items()}

    net = CellposeNet(replace(SPECS[key], base=(2, 3, 4, 5))).eval()
    kept = constants()
    for name, parameter in net.named_parameters():
        before = parameter.data.clone()
        parameter.data.add_(0.5)
        without = "diam" in name or any(part in name for part in idle)
        assert (constants() == kept) == without, name
        parameter.data.copy_(before)


def test_style_units_are_where_they_are_expected(make_net):
    """As many style additions in the graph as the network has style units."""
    for key in ("v3", "v2", "v1"):
        net = make_net(key)
        units = sum(isinstance(module, StyleUnit) for module in net.modules())
        model = onnx.load_from_string(onnx_bytes(net))
        assert sum(node.op_type == "Gemm" for node in model.graph.node) == units
