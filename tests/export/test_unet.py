"""The half-resolution U-Nets: what a pixel depends on, and the way into the runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import conv2d, pixel_unshuffle

from fcp_export.architectures.complexity import count_parameters
from fcp_export.architectures.networks import build
from fcp_export.architectures.unet import UNet, UNetSpec
from fcp_export.export import export_model, onnx_bytes
from fcp_export.fold import Kernel
from fcp_export.unet_graph import strided_weight
from fcp_runtime import segment
from fcp_runtime.errors import FcpWarning, ModelError
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import Network
from fcp_runtime.phantom import nuclei_image


def test_a_convolution_of_folded_pixels_is_one_of_stride_two():
    rng = np.random.default_rng(0)
    kernel = Kernel(rng.normal(size=(5, 4, 3, 3)), rng.normal(size=5))
    image = torch.from_numpy(rng.normal(size=(1, 1, 12, 16)))
    wanted = conv2d(
        pixel_unshuffle(image, 2),
        torch.from_numpy(kernel.weight),
        torch.from_numpy(kernel.bias),
        padding=1,
    )
    weight, bias = (torch.from_numpy(np.ascontiguousarray(a)) for a in strided_weight(kernel))
    torch.testing.assert_close(conv2d(image, weight, bias, stride=2, padding=2), wanted)


@pytest.mark.parametrize(("base", "multiple"), [((4, 8), 4), ((4, 8, 8), 8), ((4, 8, 8, 8, 8), 32)])
def test_each_level_doubles_what_sides_are_multiples_of(base, multiple):
    spec = UNetSpec("small", "Small", base, 0)
    assert spec.multiple == multiple
    with torch.inference_mode():
        out = UNet(spec).eval()(torch.zeros(1, 2, multiple, 3 * multiple))
    assert out.shape == (1, 3, multiple, 3 * multiple)


@torch.inference_mode()
def test_a_pixel_depends_on_its_surroundings_alone(make_net):
    """No mean over the tile: what lies far away changes nothing."""
    image = torch.rand(1, 2, 64, 320, generator=torch.manual_seed(0))
    changed = image.clone()
    changed[..., 240:] += 1
    net = make_net("v4")
    before, after = net(image), net(changed)
    torch.testing.assert_close(after[..., :96], before[..., :96])
    assert not torch.allclose(after[..., 230:], before[..., 230:])


@torch.inference_mode()
def test_the_second_channel_is_not_looked_at(make_net):
    image = torch.rand(1, 2, 32, 32)
    other = image.clone()
    other[:, 1] = 7
    torch.testing.assert_close(make_net("v4")(other), make_net("v4")(image))


def test_every_parameter_learns():
    net = build("v4").train()
    net(torch.rand(2, 2, 32, 32)).square().sum().backward()
    idle = [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    assert count_parameters(net) == net.spec.parameters


def test_the_runtime_loads_it_by_key_and_by_path_with_its_multiple(make_net, tmp_path):
    path = tmp_path / "v4.safetensors"
    save_file(make_net("v4").state_dict(), path)
    assert export_model("v4", path, tmp_path / "out")["multiple"] == 16
    tile = np.random.default_rng(0).random((1, 1, 48, 80), np.float32)
    pair = torch.from_numpy(np.concatenate((tile, 0 * tile), 1))
    with torch.inference_mode():
        wanted = make_net("v4")(pair)[0].numpy()
    for model in (load_model("v4", tmp_path / "out"), load_model(tmp_path / "out" / "v4.onnx")):
        assert model.info.multiple == 16
        np.testing.assert_allclose(Network(model)(tile), wanted, atol=1e-4)


@pytest.mark.parametrize("stated", ["12", "0", "many", ""])
def test_an_impossible_multiple_is_refused(stated, make_net, tmp_path):
    model = onnx.load_from_string(onnx_bytes(make_net("v4")))
    onnx.helper.set_model_props(model, {"diam_mean": "17.0", "multiple": stated})
    onnx.save(model, tmp_path / "own.onnx")
    with pytest.raises(ModelError, match=r"own\.onnx: multiple in its metadata .* one of 8, 16"):
        load_model(tmp_path / "own.onnx")


@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_images_and_stacks_of_any_size_are_cut_into_tiles_that_it_takes(mode, make_net, tmp_path):
    """Sides that are multiples of nothing, several tiles, and the boxes of the skipping of tiles."""
    path = tmp_path / "own.onnx"
    path.write_bytes(onnx_bytes(make_net("v4")))
    plane = nuclei_image((139, 277), diameter=17, seed=1).image
    pixels = plane if mode == "2d" else np.stack([plane[:75, :83]] * 21)
    done = segment(
        pixels, model=str(path), mode=mode, diameter=17, anisotropy=1, tile=72, threads=1
    )
    assert done.masks.shape == pixels.shape


def test_a_diameter_is_looked_for_in_tiles_that_it_takes(make_net, tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes(onnx_bytes(make_net("v4")))
    plane = nuclei_image((139, 277), diameter=17, seed=1).image
    with pytest.warns(FcpWarning, match="no object found"):  # its weights are no good for that
        assert segment(plane, model=str(path), threads=1).masks.shape == plane.shape
