"""What the napari plugin does apart from napari, which need not be installed."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fcp_runtime import InputError, Segmenter, SettingsError, Volume
from fcp_runtime.napari.layers import features_of, volume_of
from fcp_runtime.napari.sample import organoid_layers
from fcp_runtime.napari.session import Session, Thresholds
from fcp_runtime.outputs.table import Table
from fcp_runtime.phantom import organoid

PHANTOM = organoid((16, 72, 72), phenotype="compact", diameter=20, anisotropy=2.0, seed=1)
VOLUME = Volume(PHANTOM.image, PHANTOM.voxel_um, "stack")


@pytest.fixture(scope="module")
def session():
    made = Session(threads=2)
    made.segment(VOLUME, "v3", Thresholds(), diameter=20.0, mode="3d")
    return made


@pytest.mark.parametrize("mode", ["3d", "stitch", "2d"])
@pytest.mark.parametrize(
    "thresholds",
    [
        Thresholds(),
        Thresholds(1.5),
        Thresholds(-1.0),
        Thresholds(0.0, 0.2),
        Thresholds(0.5, 0.4, 0.3, 900),
    ],
)
def test_masks_made_again_are_those_of_a_full_run(mode, thresholds):
    session = Session(threads=2)
    session.segment(VOLUME, "v3", Thresholds(3.0, 1.0, 0.0, 5), mode=mode, diameter=20.0)
    again = session.again(thresholds)
    full = Segmenter("v3").segment(
        VOLUME,
        mode=mode,
        diameter=20.0,
        cellprob_threshold=thresholds.cellprob_threshold,
        flow_threshold=thresholds.flow_threshold,
        min_flow=thresholds.min_flow,
        min_size=thresholds.min_size,
    )
    assert np.array_equal(again.masks, full.masks)
    assert again.settings == full.settings


@pytest.mark.parametrize("mode", ["3d", "stitch", "2d"])
def test_only_another_cellprob_threshold_follows_the_flow_anew(mode):
    session = Session(threads=2)
    session.segment(VOLUME, "v3", Thresholds(), mode=mode, diameter=20.0)

    def stages(*thresholds):
        seen = []
        session.again(Thresholds(*thresholds), lambda stage, done, total: seen.append(stage))
        return set(seen)

    assert stages(0.0, 0.3) == stages(0.0, 0.3, 0.2, 900) == stages() == set()
    assert stages(0.5) == {"integrate"}
    other = Volume(PHANTOM.image[:, ::-1].copy(), PHANTOM.voxel_um, "other")
    found = session.segment(other, "v3", Thresholds(0.5), mode=mode, diameter=20.0)
    fresh = Segmenter("v3").segment(other, mode=mode, diameter=20.0, cellprob_threshold=0.5)
    assert np.array_equal(found.masks, fresh.masks)


def test_measurements_are_of_the_image_that_was_segmented(session):
    result = session.again(Thresholds())
    table = session.measure(result)
    assert len(table) == result.count
    first = PHANTOM.image[result.masks == 1]
    assert table["mean_intensity"][0] == pytest.approx(first.mean())
    assert "volume_um3" in table


def test_before_a_segmentation_there_is_nothing_to_make_masks_of():
    session = Session()
    assert not session.ready
    with pytest.raises(SettingsError, match="nothing has been segmented"):
        session.again(Thresholds())


def test_an_interrupt_leaves_the_fields_of_before(session):
    before = session.again(Thresholds()).masks

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "network" and done == total:
            raise KeyboardInterrupt

    other = Volume(PHANTOM.image[:, ::-1].copy(), PHANTOM.voxel_um, "other")
    with pytest.raises(KeyboardInterrupt):
        session.segment(other, "v3", Thresholds(), stop, diameter=20.0)
    assert np.array_equal(session.again(Thresholds()).masks, before)


def test_the_row_of_a_feature_is_its_label():
    table = Table(
        {
            "label": np.array([1, 2]),
            "z": np.array([0.5, 1.5]),
            "touches_border": np.array([True, False]),
        }
    )
    features = features_of(table)
    assert list(features["label"]) == [0, 1, 2]
    assert np.isnan(features["z"][0])
    assert list(features["z"][1:]) == [0.5, 1.5]
    assert list(features["touches_border"]) == [False, True, False]
    assert [column.dtype for column in features.values()] == [
        column.dtype for column in table.columns.values()
    ]


@pytest.mark.parametrize(
    ("shape", "rgb", "says"),
    [((2, 3, 40, 40), False, "4 axes"), ((40, 40, 3), True, "colour"), ((40,), False, "1 axes")],
)
def test_layers_that_are_no_image_and_no_stack_are_refused(shape, rgb, says):
    layer = SimpleNamespace(name="odd", data=np.zeros(shape), rgb=rgb, multiscale=False)
    with pytest.raises(InputError, match=says):
        volume_of(layer)


def test_the_sample_is_the_organoid_of_the_demo():
    ((image, placed, kind),) = organoid_layers()
    assert (image.shape, kind) == ((48, 160, 160), "image")
    assert placed["units"] == ("um", "um", "um")


def test_neither_the_runtime_nor_the_session_imports_napari(tmp_path):
    code = (
        "import sys, fcp_runtime, fcp_runtime.cli.run, fcp_runtime.napari.session\n"
        "found = {'napari', 'qtpy', 'PyQt6', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
