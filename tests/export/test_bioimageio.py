"""A package of the BioImage Model Zoo says what is in it, and its tensors belong together."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from fcp_export.cli.export import main


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "v3"
    done = CliRunner().invoke(main, ["--student", "v3", "--bioimageio", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def test_every_file_is_there_and_has_the_hash_that_is_stated(package):
    text = (package / "rdf.yaml").read_text(encoding="utf-8")
    rdf = json.loads(text)  # JSON is YAML
    stated = [
        rdf["weights"]["onnx"],
        *(rdf[side][0]["test_tensor"] for side in ("inputs", "outputs")),
    ]
    for file in stated:
        content = (package / file["source"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    assert (package / rdf["documentation"]).is_file()
    assert all((package / cover).is_file() for cover in rdf["covers"])


def test_the_network_makes_the_output_of_the_scaled_input(package):
    image = np.load(package / "test_input.npy")
    low, high = np.percentile(image, (1, 99))
    session = onnxruntime.InferenceSession(str(package / "model.onnx"))
    scaled = ((image - low) / (high - low + 1e-6)).astype(np.float32)
    (found,) = session.run(None, {"image": scaled})
    np.testing.assert_allclose(found, np.load(package / "test_output.npy"), atol=1e-4)


def test_the_own_test_of_bioimageio_passes(package):
    core = pytest.importorskip("bioimageio.core")
    summary = core.test_model(package / "rdf.yaml")
    assert summary.status == "passed", summary.format()


def test_a_network_must_be_named():
    done = CliRunner().invoke(main, ["--bioimageio", "x"])
    assert done.exit_code == 2
    assert "--student" in done.output
