import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fcp_runtime
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
    ("file", "says"),
    [
        ("tiny_other_size.onnx", "makes 1x3x64x8 of a tile of 64x80 pixels"),
        ("tiny_other_numbers.onnx", "values that are not finite of a tile of 64x80"),
    ],
)
def test_a_model_that_fails_at_another_size_than_was_tried_says_so(file, says):
    network = Network(load_model(DATA / file))
    assert network(tile(64, 72)).shape == (3, 64, 72)
    with pytest.raises(ModelError, match=says):
        network(tile(64, 80))


def test_a_pickled_network_is_the_same_wherever_its_file_is(tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes((DATA / "tiny.onnx").read_bytes())
    network = Network(load_model(path))
    pickled = pickle.dumps(network)
    path.unlink()
    again = pickle.loads(pickled)  # noqa: S301
    assert again.info == network.info
    np.testing.assert_array_equal(again(tile(64, 64)), network(tile(64, 64)))


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


PRIVATE = """
import socket, sys
def refuse(*arguments, **named):
    raise AssertionError("a connection was opened, or a name looked up")
socket.socket.connect = socket.getaddrinfo = refuse
import numpy as np
from fcp_runtime import Segmenter
image = np.random.default_rng(0).poisson(50, (96, 96)).astype(np.uint16)
image[40:60, 40:60] += 500
assert Segmenter("v3").segment(image, diameter=20, augment=False).count
import onnxruntime, os
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
"""


def test_the_engine_leaves_no_file_in_a_new_home_and_sends_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    hidden = {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"HOME": str(home), "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    subprocess.run([sys.executable, "-c", PRIVATE], env=environment, cwd=tmp_path, check=True)
    assert [file for file in home.rglob("*") if file.is_file()] == []


def test_onnxruntime_is_imported_in_one_place_only():
    package = Path(fcp_runtime.__file__).parent
    importing = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if re.search(
            r"^\s*(import|from) onnxruntime", file.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert importing == {"network/session.py"}
