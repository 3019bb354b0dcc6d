"""Errors as one line, exit codes, warnings and progress of every command."""

from __future__ import annotations

import io
import sys
import warnings

import click
import pytest
from click.testing import CliRunner

from fcp_runtime.cli.common import command_line, preparing, tqdm_progress
from fcp_runtime.errors import (
    FcpWarning,
    InputError,
    MissingExtraError,
    ModelError,
    OutputError,
    SettingsError,
)


def run(action, *arguments):
    @click.command()
    @command_line("fcp-test")
    def main():
        action()

    try:
        runner = CliRunner(mix_stderr=False)
    except TypeError:  # click 8.2 always keeps them apart
        runner = CliRunner()
    return runner.invoke(main, arguments)


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.tif: is\nno image"), "fcp-test: error: a.tif: is no image"),
        (MemoryError(), "fcp-test: error: not enough memory"),
        (ZeroDivisionError("by\nzero"), "fcp-test: error: ZeroDivisionError: by zero"),
    ],
)
def test_a_failure_is_one_line_on_stderr_and_exit_code_1(error, line):
    result = run(raising(error))
    assert result.exit_code == 1
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_debug_shows_where_it_failed():
    for error, code in ((InputError("is no image"), 1), (SettingsError("is impossible"), 2)):
        result = run(raising(error), "--debug")
        assert result.exit_code == code
        assert result.stderr.startswith("Traceback")
        assert ", in action" in result.stderr
        assert result.stderr.splitlines()[-1] == f"fcp-test: error: {error}"


def test_an_interrupt_exits_with_130():
    result = run(raising(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert result.stderr == "fcp-test: interrupted\n"


def test_wrong_usage_exits_with_2():
    result = run(raising(SettingsError("tile must be a multiple of 8")))
    assert result.exit_code == 2
    assert result.stderr == "fcp-test: error: tile must be a multiple of 8\n"
    assert run(raising(click.UsageError("no"))).exit_code == 2
    assert run(lambda: None, "--unknown").exit_code == 2


@pytest.mark.parametrize("kind", [OutputError, ModelError, MissingExtraError])
def test_what_fails_before_the_first_input_is_wrong_usage(kind):
    def action():
        with preparing():
            raise kind("a.csv: no")

    assert run(raising(kind("a.csv: no"))).exit_code == 1
    result = run(action)
    assert result.exit_code == 2
    assert result.stderr == "fcp-test: error: a.csv: no\n"


def test_success_is_silent():
    result = run(lambda: None)
    assert (result.exit_code, result.output) == (0, "")


def test_a_warning_for_the_user_is_one_line_each_time():
    def action():
        for _ in range(2):
            warnings.warn("spacing\nunknown", FcpWarning, stacklevel=1)

    before = warnings.showwarning
    result = run(action)
    assert result.stderr == "fcp-test: warning: spacing unknown\n" * 2
    assert result.exit_code == 0
    assert warnings.showwarning is before


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


def test_progress_is_drawn_on_a_terminal_only(monkeypatch):
    def draw(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        progress = tqdm_progress()
        for done in range(4):
            progress("network", done, 3)
        progress("nothing", 0, 0)
        return stream.getvalue()

    assert "network" in draw(Terminal())
    assert draw(io.StringIO()) == ""
