"""The networks: their size, their form, and Cellpose's weights in them."""

from __future__ import annotations

import formula
import numpy as np
import pytest
import torch

from fcp_export.architectures.complexity import count_macs, count_parameters
from fcp_export.architectures.networks import SPECS, build
from fcp_export.architectures.units import SeparableConvTranspose2d
from fcp_export.teacher import from_cellpose, load_cellpose, to_cellpose, with_new_doubling
from fcp_runtime.errors import ModelError

PARAMETERS = {
    "cellpose": 6_600_845,
    "dilated": 5_031_245,
    "upsample": 5_133_165,
    "compressed": 3_563_565,
    "separable": 1_250_021,
    "compressed-separable": 720_101,
    "fastcellpose": 564_809,
    "v1": 326_533,
    "v2": 188_293,
    "v3": 116_693,
    "v4": 355_950,  # counted by hand, as the next table
}
GIGA_MACS = {  # counted by hand from the descriptions, convolutions and linear layers only
    "cellpose": 323.97,
    "dilated": 246.66,
    "upsample": 250.96,
    "compressed": 173.65,
    "separable": 49.08,
    "compressed-separable": 33.96,
    "fastcellpose": 24.91,
    "v1": 13.54,
    "v2": 9.20,
    "v3": 4.97,
    "v4": 5.84,
}


def test_there_are_the_ten_of_the_thesis_and_those_beyond_it():
    assert list(SPECS) == list(PARAMETERS)


@pytest.mark.parametrize("key", PARAMETERS)
def test_a_network_has_the_published_number_of_parameters(key):
    assert count_parameters(build(key)) == PARAMETERS[key] == SPECS[key].parameters


@pytest.mark.parametrize("key", GIGA_MACS)
def test_macs_are_within_half_a_percent(key):
    assert count_macs(key) == pytest.approx(GIGA_MACS[key] * 1e9, rel=5e-3)


def test_macs_grow_with_the_area():
    # all but the linear layers of the style, which see one vector whatever the size
    assert count_macs("v3", 512) == pytest.approx(count_macs("v3") / 4, rel=1e-4)


@pytest.mark.parametrize("key", PARAMETERS)
def test_a_network_gives_three_maps_of_the_size_of_its_input(key, make_net):
    with torch.inference_mode():
        out = make_net(key)(torch.zeros(2, 2, 32, 48))
    assert out.shape == (2, 3, 32, 48)


def test_the_idle_projection_of_v3_gets_no_gradient():
    net = build("v3").train()
    net(torch.rand(2, 2, 16, 16)).sum().backward()
    idle = {name for name, p in net.named_parameters() if p.requires_grad and p.grad is None}
    assert idle == {name for name, _ in net.named_parameters() if ".proj." in name}
    assert sum(p.numel() for name, p in net.named_parameters() if name in idle) == 11_480


def _relative(found: torch.Tensor, wanted: np.ndarray) -> float:
    return float(np.abs(found.numpy() - wanted).max() / np.abs(wanted).max())


@torch.inference_mode()
def test_output_equals_cellpose_on_weights_by_formula(make_net, oracle):
    image = torch.from_numpy(formula.uniform("image", (1, 2, 48, 64)))
    assert _relative(make_net("cellpose")(image), oracle["formula"]) < 1e-4


@torch.inference_mode()
def test_output_equals_cellpose_on_the_teacher(teacher_file, oracle):
    image = torch.from_numpy(formula.uniform("image", (1, 2, 48, 64)))
    assert _relative(load_cellpose(teacher_file)(image), oracle["teacher"]) < 1e-4


def test_weights_survive_the_way_to_cellpose_and_back(make_net):
    state = to_cellpose(make_net("cellpose"))
    again = from_cellpose(state, "cellpose", name="state").state_dict()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], value) for name, value in state.items())
    # the names that Cellpose uses, of one entry of each kind
    assert {
        "downsample.down.res_down_0.conv.conv_0.0.weight",
        "downsample.down.res_down_3.proj.1.bias",
        "upsample.up.res_up_0.conv.conv_1.conv.2.weight",
        "upsample.up.res_up_2.conv.conv_3.full.bias",
        "output.2.weight",
        "diam_mean",
    } <= state.keys()


def test_half_precision_and_missing_diameters_are_mended(make_net):
    state = {k: v.half() for k, v in to_cellpose(make_net("cellpose")).items() if "diam" not in k}
    net = from_cellpose(state, "cellpose", name="state")
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert net.diam_mean.tolist() == [30.0]


def test_dilated_takes_its_share_of_the_teacher(make_net):
    state = to_cellpose(make_net("cellpose"))
    dilated = from_cellpose(state, "dilated", name="state").state_dict()
    assert len(dilated) < len(state)
    assert all(torch.equal(state[name], value) for name, value in dilated.items())


def test_upsample_begins_with_what_it_shares_with_the_teacher(make_net):
    state = to_cellpose(make_net("cellpose"))
    upsample = from_cellpose(with_new_doubling(state, "upsample"), "upsample", name="state").state_dict()  # fmt: skip
    own = {name for name in upsample if name.startswith("upsample.doubling.")}
    assert len(own) == 8
    assert all(torch.equal(upsample[name], state[name]) for name in upsample.keys() - own)


def test_weights_of_another_network_are_refused(make_net):
    state = to_cellpose(make_net("v1"))
    with pytest.raises(ModelError, match=r"v1\.pt: not a checkpoint of the v3 network"):
        from_cellpose(state, "v3", name="v1.pt")


def test_left_over_weights_are_refused(make_net):
    state = to_cellpose(make_net("v3")) | {"head.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"1 unknown, first head\.weight"):
        from_cellpose(state, "v3", name="v3.pt")


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such checkpoint"):
        load_cellpose(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ModelError, match=r"text\.pt: not a torch checkpoint"):
        load_cellpose(tmp_path / "text.pt")
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"other\.pt: not a plain state dict"):
        load_cellpose(tmp_path / "other.pt")


def test_training_computes_the_same_transposed_convolution():
    """Values and gradients, in double precision."""
    unit = SeparableConvTranspose2d(6, 5).double()
    x = torch.rand(2, 6, 7, 9, dtype=torch.double, requires_grad=True)
    wanted, found = unit.eval()(x), unit.train()(x)
    torch.testing.assert_close(found, wanted)
    upstream = torch.rand_like(wanted)
    learnt = [x, *unit.parameters()]
    one, two = (torch.autograd.grad(out, learnt, upstream) for out in (wanted, found))
    for expected, gradient in zip(one, two, strict=True):
        torch.testing.assert_close(gradient, expected)
