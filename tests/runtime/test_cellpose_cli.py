"""``fcp-cellpose`` called by the argument lists that other programs send, its files read as they do.

Sources of the lists: TrackMate-Cellpose 0.1.2 (`AbstractCellposeSettings.toCmdLine`) and its
`CellposeCLI` of 2025, qupath-extension-cellpose 0.12 (`Cellpose2D.runCellpose`),
CellProfiler-plugins (`runcellpose.py`), nf-core/modules (`cellpose/main.nf`).
"""

from __future__ import annotations

import re

import imagecodecs
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from fcp_runtime import FcpError, Segmenter
from fcp_runtime.cellpose_cli.axes import AxisChoice, axes_as_cellpose
from fcp_runtime.cellpose_cli.command import main
from fcp_runtime.cellpose_cli.models import choose_model
from fcp_runtime.cellpose_cli.options import BY_NAME
from fcp_runtime.evaluate.metrics import match
from fcp_runtime.masks.border import without_border_objects
from fcp_runtime.phantom import nuclei_image, organoid

DIAMETER = 20


@pytest.fixture(scope="module")
def phantoms():
    return [nuclei_image((96, 112), diameter=DIAMETER, seed=seed) for seed in range(3)]


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Return a home folder without anything in it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    return folder


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def recall(masks, truth):
    """Return the share of true nuclei that were found, at an IoU of 0.5."""
    return match(masks, truth).counts(0.5).recall


def save_as_imagej(path, pixels):
    """Write what ImageJ writes: one channel, or several of one image."""
    axes = "YX" if pixels.ndim == 2 else "CYX"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": axes})


def test_trackmate_finds_a_png_for_each_time_point(tmp_path, phantoms):
    for frame, phantom in enumerate(phantoms):
        save_as_imagej(tmp_path / f"{frame}.tif", phantom.image)
    done = call(
        *("--dir", tmp_path, "--chan", 0, "--chan2", 0, "--use_gpu", "--diameter", f"{DIAMETER}.0"),
        *("--pretrained_model", "nuclei", "--save_png", "--no_npy"),
        *("--flow_threshold", 0.4, "--cellprob_threshold", "0.0"),
    )
    assert done.exit_code == 0, done.output
    for frame, phantom in enumerate(phantoms):
        masks = imagecodecs.png_decode((tmp_path / f"{frame}_cp_masks.png").read_bytes())
        assert masks.dtype == np.uint16  # what TrackMate would convert to
        assert masks.shape == phantom.image.shape
        assert recall(masks, phantom.labels) > 0.5
    assert not list(tmp_path.glob("*_seg.npy"))


def test_trackmate_reads_progress_from_the_log_in_the_home_folder(tmp_path, phantoms, home):
    for frame, phantom in enumerate(phantoms):
        save_as_imagej(tmp_path / f"{frame}.tif", phantom.image)
    done = call(
        *("--pretrained_model", "cyto3", "--dir", tmp_path, "--chan", 0, "--chan2", 0),
        *("--diameter", DIAMETER, "--use_gpu", "--save_png", "--no_npy", "--verbose"),
    )
    assert done.exit_code == 0, done.output
    pattern = re.compile(r".+\s(\d*\.?\d*)\%.+")  # of its LoggerTailerListener
    lines = (home / ".cellpose" / "run.log").read_text(encoding="utf-8").splitlines()
    percents = [float(found[1]) for line in lines if (found := pattern.fullmatch(line))]
    assert percents == [0, 33, 67, 100]
    assert "finds nuclei, not whole cells" in done.output


def test_without_verbose_nothing_is_written_to_the_home_folder(tmp_path, phantoms, home):
    save_as_imagej(tmp_path / "0.tif", phantoms[0].image)
    done = call("--dir", tmp_path, "--diameter", DIAMETER, "--save_png", "--no_npy")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert not list(home.iterdir())


def test_qupath_reads_a_tif_beside_each_tile(tmp_path, phantoms):
    tiles = {}
    for number, phantom in enumerate(phantoms[:2]):
        name = f"Temp_{512 * number}_0_z0_t0"
        save_as_imagej(tmp_path / f"{name}.tif", phantom.image.astype(np.float32))
        tiles[name] = phantom
    # pointed at this command in place of python, as environment of type EXE
    done = call(
        *("-Xutf8", "-W", "ignore", "-m", "cellpose", "--dir", tmp_path),
        *(
            "--pretrained_model",
            "cyto3",
            "--diameter",
            f"{DIAMETER}.0",
            "--cellprob_threshold",
            "0.0",
        ),
        *("--exclude_on_edges", "--save_tif", "--no_npy", "--use_gpu", "--verbose"),
    )
    assert done.exit_code == 0, done.output
    for name, phantom in tiles.items():
        masks = tifffile.imread(tmp_path / f"{name}_cp_masks.tif")
        assert masks.shape == phantom.image.shape
        border = np.concatenate((masks[0], masks[-1], masks[:, 0], masks[:, -1]))
        assert masks.max() > 0
        assert border.max() == 0


def test_cellprofiler_reads_masks_and_probabilities_from_seg_npy(tmp_path, phantoms):
    image = phantoms[0].image
    low, high = np.percentile(image, (1, 99))
    scaled = np.clip((image - low) / (high - low), 0, 1)
    tifffile.imwrite(tmp_path / "4f1c.tiff", scaled)  # skimage.io.imsave of float64
    done = call(
        *("--verbose", "--dir", tmp_path, "--pretrained_model", "nuclei"),
        *("--chan", 0, "--chan2", 0, "--diameter", DIAMETER, "--net_avg"),
        *("--cellprob_threshold", 0.0, "--min_size", 15, "--anisotropy", "None"),
        *("--flow_threshold", 0.4, "--stitch_threshold", 0.0),
    )
    assert done.exit_code == 0, done.output
    output = np.load(tmp_path / "4f1c_seg.npy", allow_pickle=True).item()
    assert recall(output["masks"], phantoms[0].labels) > 0.5
    probabilities = np.squeeze(output["flows"][1], axis=0)
    assert probabilities.shape == image.shape
    inside = probabilities[phantoms[0].labels > 0].mean()
    assert inside > probabilities[phantoms[0].labels == 0].mean() + 100


def test_cellprofiler_with_a_nuclear_channel_gets_nuclei_of_that_channel(tmp_path, phantoms):
    nuclei = phantoms[0].image / phantoms[0].image.max()
    colours = np.stack((np.zeros_like(nuclei), np.zeros_like(nuclei), nuclei), axis=-1)
    tifffile.imwrite(tmp_path / "9b2e.tiff", colours, photometric="minisblack")
    done = call(
        *("--verbose", "--dir", tmp_path, "--pretrained_model", "cyto3", "--chan", 2, "--chan2", 3),
        *("--diameter", DIAMETER, "--cellprob_threshold", 0.0, "--min_size", 15),
        *("--anisotropy", "None", "--flow_threshold", 0.4, "--stitch_threshold", 0.0),
    )
    assert done.exit_code == 0, done.output
    assert "channel 3 (--chan2, nuclei) is segmented" in done.output
    output = np.load(tmp_path / "9b2e_seg.npy", allow_pickle=True).item()
    assert recall(output["masks"], phantoms[0].labels) > 0.5


@pytest.mark.slow
def test_cellprofiler_gets_a_stack(tmp_path):
    phantom = organoid((12, 64, 64), phenotype="compact", diameter=20, anisotropy=2.0, seed=1)
    tifffile.imwrite(tmp_path / "77aa.tiff", phantom.image / phantom.image.max())
    done = call(
        *("--verbose", "--dir", tmp_path, "--pretrained_model", "nuclei"),
        *("--chan", 0, "--chan2", 0, "--diameter", 20, "--do_3D", "--cellprob_threshold", 0.0),
        *(
            "--min_size",
            15,
            "--anisotropy",
            2.0,
            "--flow_threshold",
            0.4,
            "--stitch_threshold",
            0.0,
        ),
    )
    assert done.exit_code == 0, done.output
    output = np.load(tmp_path / "77aa_seg.npy", allow_pickle=True).item()
    assert output["masks"].shape == phantom.image.shape
    assert output["masks"].max() > 0


def test_nf_core_finds_masks_in_the_folder_of_its_task(tmp_path, phantoms, monkeypatch):
    channels = np.stack([phantoms[0].image] * 2)
    tifffile.imwrite(tmp_path / "tonsil.ome.tif", channels, metadata={"axes": "CYX"})
    monkeypatch.chdir(tmp_path)
    done = call(
        *("--image_path", "tonsil.ome.tif", "--save_tif"),
        *("--diameter", DIAMETER, "--channel_axis", 0, "--no_npy", "--save_flows"),
    )
    assert done.exit_code == 0, done.output
    assert {file.name for file in tmp_path.glob("*masks.tif")} == {
        "tonsil.ome_cp_masks.tif",
        "tonsil.ome_flows_cp_masks.tif",
        "tonsil.ome_dP_cp_masks.tif",
    }
    assert recall(tifffile.imread("tonsil.ome_cp_masks.tif"), phantoms[0].labels) > 0.5
    assert tifffile.imread("tonsil.ome_flows_cp_masks.tif").shape == (96, 112, 3)
    assert tifffile.imread("tonsil.ome_dP_cp_masks.tif").shape == (2, 96, 112)


def test_nf_core_reads_the_version_as_third_word_of_the_second_line():
    text = call("--version").stdout
    assert text.splitlines()[1].split()[2][0].isdigit()


def test_the_masks_are_those_of_the_api(tmp_path, phantoms):
    save_as_imagej(tmp_path / "x.tif", phantoms[1].image)
    done = call(
        *("--image_path", tmp_path / "x.tif", "--pretrained_model", "v3", "--diameter", DIAMETER),
        *("--cellprob_threshold", -1.5, "--flow_threshold", 0.6, "--min_size", -1, "--save_tif"),
        *("--niter", 0, "--norm_percentile", 2, 98, "--no_npy"),
    )
    assert done.exit_code == 0, done.output
    expected = Segmenter("v3").segment(
        phantoms[1].image,
        diameter=DIAMETER,
        cellprob_threshold=-1.5,
        flow_threshold=0.6,
        min_size=0,
        percentiles=(2, 98),
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x_cp_masks.tif"), expected.masks)


def test_images_that_qupath_has_scaled_are_taken_as_they_are(tmp_path, phantoms):
    image = phantoms[0].image
    low, high = np.percentile(image, (0.1, 99.8))  # of the whole slide, not of the tile
    scaled = ((image - low) / (high - low)).astype(np.float32)
    save_as_imagej(tmp_path / "Temp_0_0_z0_t0.tif", scaled)
    done = call(
        *("-Xutf8", "-W", "ignore", "-m", "cellpose", "--dir", tmp_path),
        *("--pretrained_model", "nuclei", "--diameter", f"{DIAMETER}.0", "--no_norm"),
        *("--save_tif", "--no_npy", "--verbose"),
    )
    assert done.exit_code == 0, done.output
    expected = Segmenter().segment(scaled, diameter=DIAMETER, levels=(0, 1))
    masks = tifffile.imread(tmp_path / "Temp_0_0_z0_t0_cp_masks.tif")
    np.testing.assert_array_equal(masks, expected.masks)
    assert masks.max() > 0


def test_a_threshold_in_3d_is_that_of_three_views_added_up(tmp_path):
    phantom = organoid((12, 64, 64), phenotype="compact", diameter=20, anisotropy=2.0, seed=1)
    tifffile.imwrite(tmp_path / "x.tif", phantom.image)
    done = call(
        *("--image_path", tmp_path / "x.tif", "--diameter", 20, "--do_3D", "--anisotropy", 2),
        *("--cellprob_threshold", 3, "--save_tif", "--no_npy"),
    )
    assert done.exit_code == 0, done.output
    expected = Segmenter().segment(
        phantom.image, diameter=20, anisotropy=2.0, cellprob_threshold=1.0
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x_cp_masks.tif"), expected.masks)


def test_dark_nuclei_are_found_inverted(tmp_path, phantoms):
    image = phantoms[0].image
    for name, pixels in (("bright", image), ("dark", image.max() - image)):
        save_as_imagej(tmp_path / f"{name}.tif", pixels)
        invert = ["--invert"] if name == "dark" else []
        done = call(
            *("--image_path", tmp_path / f"{name}.tif", "--diameter", DIAMETER, *invert),
            *("--save_tif", "--no_npy"),
        )
        assert done.exit_code == 0, done.output
    bright, dark = (tifffile.imread(tmp_path / f"{n}_cp_masks.tif") for n in ("bright", "dark"))
    assert recall(dark, bright) > 0.95


def test_every_file_has_the_name_and_folder_of_cellpose(tmp_path, phantoms):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    save_as_imagej(tmp_path / "in" / "x.tif", phantoms[0].image)
    done = call(
        *("--dir", tmp_path / "in", "--diameter", DIAMETER, "--savedir", tmp_path / "out"),
        *("--in_folders", "--save_png", "--save_tif", "--save_txt", "--save_rois"),
        *("--save_flows", "--save_outlines", "--output_name", "_nuclei"),
    )
    assert done.exit_code == 0, done.output
    written = {str(file.relative_to(tmp_path).as_posix()) for file in tmp_path.rglob("*.*")}
    assert written == {
        "in/x.tif",
        "in/x_seg.npy",
        "in/x_rois.zip",
        "out/masks/x_nuclei.png",
        "out/masks/x_nuclei.tif",
        "out/outlines/x_outlines_nuclei.png",
        "out/txt_outlines/x_cp_outlines.txt",
        "out/flows/x_flows_nuclei.tif",
        "out/flows/x_dP_nuclei.tif",
    }
    outlines = imagecodecs.png_decode(
        (tmp_path / "out/outlines/x_outlines_nuclei.png").read_bytes()
    )
    assert (outlines == (255, 0, 0)).all(axis=-1).any()


def test_an_image_without_objects_has_an_empty_mask(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((64, 64), np.uint8))
    done = call("--dir", tmp_path, "--save_png", "--diameter", 0)
    assert done.exit_code == 0, done.output
    masks = imagecodecs.png_decode((tmp_path / "x_cp_masks.png").read_bytes())
    assert masks.max() == 0
    assert np.load(tmp_path / "x_seg.npy", allow_pickle=True).item()["masks"].max() == 0


def test_results_of_an_earlier_run_and_filtered_names_are_no_images(tmp_path, phantoms):
    for name in ("b10", "b2", "a_seg", "c_dapi", "old_cp_masks", "old_flows"):
        save_as_imagej(tmp_path / f"{name}.tif", phantoms[0].image)
    first = ("--dir", tmp_path, "--diameter", DIAMETER, "--save_png", "--no_npy", "--verbose")
    done = call(*first, "--mask_filter", "_seg")
    assert done.exit_code == 0, done.output
    order = [line.split(": ")[0] for line in done.stdout.splitlines() if " objects, " in line]
    names = [re.search(r"(\w+)\.tif$", line)[1] for line in order]
    assert names == ["b2", "b10", "c_dapi"]
    done = call(*first, "--img_filter", "_dapi")
    assert "on 1 images" in done.stdout


def test_a_failing_image_does_not_stop_the_others(tmp_path, phantoms):
    (tmp_path / "a.tif").write_bytes(b"no image")
    save_as_imagej(tmp_path / "b.tif", phantoms[0].image)
    done = call("--dir", tmp_path, "--diameter", DIAMETER, "--save_png", "--no_npy")
    assert done.exit_code == 1
    assert "a.tif" in done.stderr
    assert "1 of 2 images failed" in done.stderr
    assert (tmp_path / "b_cp_masks.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train"], "fcp-distill"),
        (["--omni"], "Omnipose"),
        (["--restore_type", "upsample_cyto3"], "enlarged"),
        (["--flow3D_smooth", "2", "1", "1"], "smoothed"),
        (["--pretrained_model", "bact_phase_cp3"], "not what this one was made for"),
        (["--pretrained_model", "nonsense"], "no such model"),
        (["--do_3D", "--save_png"], "--save_tif"),
        (["--savedir", "/no/such/folder"], "make it first"),
        (["--new_option"], "No such option"),
        (["--diameter", "wide"], "wide"),
    ],
)
def test_what_cannot_be_served_is_wrong_usage(tmp_path, phantoms, arguments, words):
    save_as_imagej(tmp_path / "x.tif", phantoms[0].image)
    done = call("--dir", tmp_path, *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["x.tif"]


def test_harmless_options_are_named_in_one_warning(tmp_path, phantoms):
    save_as_imagej(tmp_path / "x.tif", phantoms[0].image)
    done = call(
        *("--dir", tmp_path, "--diameter", DIAMETER, "--no_npy", "--flow3D_smooth", 0),
        *("--batch_size", 4, "--use_gpu", "--restore_type", "denoise_cyto3", "--n_epochs", 5),
    )
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.stderr.splitlines() if "no effect" in line]
    for flag in ("--batch_size", "--use_gpu", "--restore_type", "--n_epochs"):
        assert flag in line


def test_a_folder_without_images_is_an_error(tmp_path):
    done = call("--dir", tmp_path, "--save_png")
    assert done.exit_code == 1
    assert "no image" in done.stderr


def test_without_folder_or_image_it_says_what_to_give():
    done = call("--save_png")
    assert done.exit_code == 2
    assert "--dir or --image_path" in done.stderr


def test_a_torch_network_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "CP_2024").write_bytes(b"PK\x03\x04")
    with pytest.raises(FcpError, match="fcp-export"):
        choose_model(str(tmp_path / "CP_2024"))


@pytest.mark.parametrize(
    ("letters", "sizes", "choice", "expected"),
    [
        ("YX", (64, 64), AxisChoice(), "YX"),
        ("CYX", (3, 64, 64), AxisChoice(channel=2), "CYX"),
        ("ZYX", (3, 64, 64), AxisChoice(channel=2), "CYX"),  # a channel is asked for
        ("ZYX", (3, 64, 64), AxisChoice(), "ZYX"),
        ("TYX", (30, 64, 64), AxisChoice(volume=True), "ZYX"),
        ("QYX", (3, 64, 64), AxisChoice(), "CYX"),
        ("QYX", (30, 64, 64), AxisChoice(), "ZYX"),
        ("QYX", (3, 64, 64), AxisChoice(volume=True), "ZYX"),
        ("QQYX", (3, 20, 64, 64), AxisChoice(volume=True), "CZYX"),
        ("QYX", (64, 64, 3), AxisChoice(channel_axis=2), "YXC"),
        ("QQYX", (20, 3, 64, 64), AxisChoice(volume=True, channel_axis=1, z_axis=0), "ZCYX"),
        ("QYX", (64, 64, 20), AxisChoice(volume=True, z_axis=-1), "YXZ"),
    ],
)
def test_axes_are_those_that_cellpose_would_take(letters, sizes, choice, expected):
    assert axes_as_cellpose(letters, sizes, choice, "x.tif") == expected


@pytest.mark.parametrize(
    ("letters", "sizes", "choice"),
    [
        ("TZYX", (5, 9, 64, 64), AxisChoice(volume=True)),
        ("QQYX", (5, 9, 64, 64), AxisChoice()),
        ("YX", (64, 64), AxisChoice(channel_axis=0)),
        ("QYX", (3, 64, 64), AxisChoice(channel_axis=3)),
        ("QYX", (3, 64, 64), AxisChoice(channel_axis=0, z_axis=0)),
    ],
)
def test_axes_that_do_not_fit_are_an_error(letters, sizes, choice):
    with pytest.raises(FcpError, match=r"x\.tif"):
        axes_as_cellpose(letters, sizes, choice, "x.tif")


def test_objects_at_the_border_go_in_all_axes():
    masks = np.zeros((5, 8, 8), np.uint16)
    masks[0, 3, 3] = 1  # first plane
    masks[2, 0, 3] = 2
    masks[2, 3:5, 3:5] = 3
    masks[3, 5, 7] = 4
    left = without_border_objects(masks, "xyz")
    np.testing.assert_array_equal(left, (masks == 3).astype(np.uint16))
    assert without_border_objects(masks[2], "xyz").max() == 1


def test_no_option_is_listed_twice():
    from fcp_runtime.cellpose_cli.options import OPTIONS

    assert len(BY_NAME) == len(OPTIONS)
