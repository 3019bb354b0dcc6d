import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fcp_runtime.errors import FcpWarning, ModelError
from fcp_runtime.network.registry import Model, list_models, load_model

DATA = Path(__file__).parents[1] / "data"
TINY = DATA / "tiny.onnx"
CONTENT = TINY.read_bytes()
ENTRY = {
    "file": "tiny.onnx",
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "bytes": len(CONTENT),
    "diam_mean": 17.0,
    "parameters": 6,
    "macs_1024": 3145728,
    "training_data": ["one", "two"],
    "licences": ["CC0-1.0"],
    "teacher": "cellpose",
    "accuracy": {"f1": 0.5},
    "made_with": {"torch": "2.4"},
    "something_new": "from a later version",
}


@pytest.fixture
def shipped(tmp_path):
    """A folder like the installed one, with two models."""
    shutil.copy(TINY, tmp_path)
    write_manifest(tmp_path, {"tiny": ENTRY, "bare": {**ENTRY, "training_data": []}})
    return tmp_path


def write_manifest(folder, models):
    (folder / "manifest.json").write_text(json.dumps({"models": models}), encoding="utf-8")


def test_shipped_models_are_listed_as_the_manifest_describes_them(shipped):
    first, second = list_models(shipped)
    assert (first.key, second.key) == ("tiny", "bare")
    assert first.parameters == 6
    assert first.macs_1024 == 3145728
    assert first.training_data == ("one", "two")
    assert first.licences == ("CC0-1.0",)
    assert first.accuracy == {"f1": 0.5}
    assert second.training_data == ()


def test_a_shipped_model_is_read_and_verified(shipped):
    model = load_model("tiny", shipped)
    assert model == Model(list_models(shipped)[0], CONTENT)


def test_a_folder_without_manifest_ships_nothing(tmp_path):
    assert list_models(tmp_path) == []


def test_the_installed_models_can_all_be_loaded():
    for info in list_models():
        assert len(load_model(info.key).content) == info.bytes


def test_a_changed_file_is_refused(shipped):
    (shipped / "tiny.onnx").write_bytes(CONTENT[:-1] + b"\0")
    with pytest.raises(ModelError, match=r"tiny\.onnx: damaged"):
        load_model("tiny", shipped)


def test_a_missing_shipped_file_is_named(shipped):
    (shipped / "tiny.onnx").unlink()
    with pytest.raises(ModelError, match=r"tiny\.onnx: cannot read this model"):
        load_model("tiny", shipped)


def test_an_unknown_name_lists_the_names_and_says_that_a_path_works(shipped):
    with pytest.raises(
        ModelError, match=r"no model v9: shipped are tiny, bare; .*path of an \.onnx"
    ):
        load_model("v9", shipped)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"models": []}',
        '{"models": {"v3": {"file": "v3.onnx"}}}',
        '{"models": {"v3": 1}}',
    ],
)
def test_a_damaged_manifest_is_one_clear_error(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: damaged"):
        list_models(tmp_path)


def test_an_own_file_is_taken_by_path(tmp_path):
    for path in (TINY, str(TINY)):
        model = load_model(path, tmp_path)
        assert model.content == CONTENT
        assert model.info.key == str(TINY)
        assert model.info.sha256 == ENTRY["sha256"]
        assert model.info.bytes == len(CONTENT)
        assert model.info.diam_mean == 12.5
        assert model.info.parameters is None


def test_an_own_file_without_diameter_is_taken_for_17_with_a_warning(tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes(CONTENT.replace(b"diam_mean", b"something"))
    with pytest.warns(FcpWarning, match=r"own\.onnx: .*no diam_mean, taken as 17 pixels"):
        model = load_model(path)
    assert model.info.diam_mean == 17


@pytest.mark.parametrize("stated", [b"wide", b"-3.5", b"0000", b" nan", b" inf", b"1e05", b"0.01"])
def test_an_own_file_with_an_impossible_diameter_is_refused(tmp_path, stated):
    path = tmp_path / "own.onnx"
    path.write_bytes(CONTENT.replace(b"12.5", stated))
    with pytest.raises(ModelError, match=r"own\.onnx: diam_mean .* not 1 to 1000 pixels"):
        load_model(path)


def test_an_own_file_whose_maps_have_another_size_is_refused():
    with pytest.raises(ModelError, match=r"half_size\.onnx: makes 1x3x32x36 of a tile of 64x72"):
        load_model(DATA / "tiny_half_size.onnx")


def test_an_own_file_that_makes_no_numbers_is_refused(tmp_path):
    path = tmp_path / "own.onnx"
    minus_one, no_number = (np.float32(value).tobytes() for value in (-1, np.nan))
    path.write_bytes(CONTENT.replace(minus_one, no_number))
    with pytest.raises(ModelError, match=r"own\.onnx: makes values that are not finite"):
        load_model(path)


def test_an_own_file_with_a_loop_is_refused_without_running_it():
    with pytest.raises(ModelError, match=r"endless\.onnx: has the operator Loop"):
        load_model(DATA / "tiny_endless.onnx")


def test_a_missing_own_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.onnx: cannot read this model \(No such file"):
        load_model(tmp_path / "absent.onnx")


def test_an_own_file_of_another_form_is_refused():
    with pytest.raises(ModelError, match=r"tiny_two_channels\.onnx: needed are"):
        load_model(DATA / "tiny_two_channels.onnx")
