from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fcp_runtime.errors import ModelError
from fcp_runtime.network.registry import load_model
from fcp_runtime.network.session import Network, open_session

DATA = Path(__file__).parents[1] / "data"


def tile(height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(1, 1, height, width)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    return Network(load_model(DATA / "tiny.onnx"))


def test_a_tile_of_any_size_becomes_three_channels(network):
    for height, width in ((8, 8), (64, 256), (8, 8)):
        image = tile(height, width)
        output = network(image)
        assert output.dtype == np.float32
        assert output.flags.c_contiguous
        x = image[0, 0]
        np.testing.assert_allclose(output, np.stack([x, 2 * x, 3 * x - 1]), atol=1e-6)


def test_a_network_knows_its_model(network):
    assert network.diam_mean == 12.5
    assert network.info.bytes == (DATA / "tiny.onnx").stat().st_size


def test_one_session_serves_several_threads(network):
    tiles = [tile(8 * (1 + seed % 5), 64, seed) for seed in range(40)]
    alone = [network(image) for image in tiles]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(network, tiles), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is it a whole ONNX file"),
        (b"no model at all", "is it a whole ONNX file"),
        ((DATA / "tiny.onnx").read_bytes()[:150], "is it a whole ONNX file"),
        ((DATA / "tiny_external.onnx").read_bytes(), "without external data"),
        ((DATA / "tiny.onnx").read_bytes().replace(b"image", b"pixel"), "it has input pixel"),
        ((DATA / "tiny_two_channels.onnx").read_bytes(), r"float32 \[N, 3, H, W\]"),
        ((DATA / "tiny_fixed_size.onnx").read_bytes(), "with free H and W"),
    ],
    ids=["empty", "text", "truncated", "external data", "names", "channels", "fixed size"],
)
def test_a_file_of_another_form_is_refused_in_one_line(content, says, capfd):
    with pytest.raises(ModelError, match=says) as caught:
        open_session(content, "some.onnx")
    message = str(caught.value)
    assert message.startswith("some.onnx: ")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
