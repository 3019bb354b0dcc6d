"""replacing: whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from fcp_runtime.errors import FcpError, InputError, OutputError
from fcp_runtime.io.atomic import replacing

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "a.ome.tif"
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".ome.tif")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == ["a.ome.tif"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_or_an_interrupt_leaves_what_was_there(tmp_path, error, old):
    path = tmp_path / "a.tif"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error):
        _write(path, error)
    assert _names(tmp_path) == ([] if old is None else ["a.tif"])
    assert old is None or path.read_bytes() == old


def test_other_errors_of_ours_pass_unchanged(tmp_path):
    with pytest.raises(InputError, match="mine"):
        _write(tmp_path / "a", InputError("mine"))


@posix
def test_permissions_are_those_of_any_new_file(tmp_path):
    old = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_bytes(b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@posix
def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    with replacing(tmp_path / "link") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_bytes() == b"new"


def test_a_missing_folder_is_named_and_not_made(tmp_path):
    with pytest.raises(OutputError, match=r"a\.tif: the folder .* does not exist; make it"):
        _write(tmp_path / "no" / "a.tif")
    assert not (tmp_path / "no").exists()


def test_a_folder_is_no_output(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        _write(tmp_path)


@posix
def test_a_device_is_not_replaced():
    with pytest.raises(OutputError, match="is a device"):
        _write(Path("/dev/null"))


@posix
def test_a_read_only_folder_is_refused(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="writing there is not permitted"):
            _write(tmp_path / "a")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the folder is read-only"),
        (errno.EACCES, "writing there is not permitted"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_what_the_system_says_becomes_one_clear_line(tmp_path, number, says):
    path = tmp_path / "a.tif"
    with pytest.raises(OutputError) as caught:
        _write(path, OSError(number, os.strerror(number)))
    assert str(caught.value) == f"{path}: cannot be written: {says}"
    assert _names(tmp_path) == []


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(FcpError):
        _write(tmp_path / ("a" * 300))
    assert _names(tmp_path) == []


def test_a_long_name_that_is_allowed_works(tmp_path):
    path = tmp_path / ("a" * 250 + ".tif")
    _write(path)
    assert path.read_bytes() == b"new"


def test_a_file_held_by_another_program_is_tried_again(tmp_path, monkeypatch):
    tries = []
    real = Path.replace

    def held(self, target):
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError(errno.EACCES, "held open")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", held)
    _write(tmp_path / "a")
    assert len(tries) == 3
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_that_stays_held_is_an_error(tmp_path, monkeypatch):
    def held(self, target):
        raise PermissionError(errno.EACCES, "held open")

    monkeypatch.setattr(Path, "replace", held)
    monkeypatch.setattr("fcp_runtime.io.atomic.WAITS", (0.0, 0.0))
    with pytest.raises(OutputError, match="not permitted"):
        _write(tmp_path / "a")
    assert _names(tmp_path) == []


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS forbids such names")
def test_names_that_are_no_unicode_work(tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.tif")
    _write(path)
    assert path.read_bytes() == b"new"


def _write(path, error=None):
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        if error is not None:
            raise error


def _names(folder):
    return [path.name for path in folder.iterdir()]
