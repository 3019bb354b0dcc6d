"""What the commands share: errors as one line, exit codes, warnings, the progress bar.

Exit codes: 0 done, 1 an input failed, 2 wrong usage, 130 interrupted, 143 told to end (SIGTERM).
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fcp_runtime.errors import (
    FcpError,
    FcpWarning,
    MissingExtraError,
    ModelError,
    OutputError,
    SettingsError,
)
from fcp_runtime.machine.workers import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fcp_runtime.machine.workers import Progress

DEBUG = "fcp_runtime.debug"
"""Where click's context keeps whether tracebacks are shown."""


class Terminated(KeyboardInterrupt):
    """The system asked the program to end: it ends as after Ctrl-C, with a code of its own."""


class GivenPath(click.Path):
    """A path; an empty word, as of a variable that is not set, is none: it would mean this folder."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or refuse an empty one."""
        if value == "":
            self.fail("a path is empty.", param, ctx)
        return super().convert(value, param, ctx)


TOLD = "fcp_runtime.told_to_end"
"""Where click's context keeps that SIGTERM came."""


@contextmanager
def ending_on_request() -> Iterator[None]:
    """Make SIGTERM raise `Terminated` in the main thread, so that what is half done is cleared up.

    A library that is interrupted while it is loaded may make another failure of it, such as an
    ImportError; that ends as `Terminated` all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    meta = click.get_current_context().meta

    def end(_number: int, _frame: Any) -> None:
        meta[TOLD] = True
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except BaseException as error:
        if told_to_end():
            raise Terminated from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def told_to_end() -> bool:
    """Tell whether SIGTERM came to the command that runs."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(TOLD))


def command_line(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function fit to be a command: failures become one line on stderr and an exit code.

    Adds the option ``--debug``, which shows the traceback too. Stands below the click decorators.

    Parameters
    ----------
    name : str
        Name of the command, which begins every line.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def guarded(*args: Any, debug: bool, **options: Any) -> None:
            click.get_current_context().meta[DEBUG] = debug
            try:
                with ending_on_request(), _warnings_as_lines(name):
                    function(*args, **options)
            except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
                raise
            except Terminated:
                _say(f"{name}: told to end")
                sys.exit(143)
            except KeyboardInterrupt:
                _say(f"{name}: interrupted")
                sys.exit(130)
            except Exception as error:  # noqa: BLE001 - whatever it is, it gets its line and code
                say_error(name, error)
                sys.exit(2 if isinstance(error, SettingsError) else 1)

        option = click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
        return option(guarded)

    return decorate


@contextmanager
def preparing() -> Iterator[None]:
    """Make what fails before the first input is read wrong usage: exit code 2.

    Raises
    ------
    SettingsError
        In place of an OutputError, ModelError or MissingExtraError, with the same message.
    """
    try:
        yield
    except (OutputError, ModelError, MissingExtraError) as error:
        raise SettingsError(str(error)) from error


def say_error(name: str, error: Exception, image: Path | None = None) -> None:
    """Print a failure as one line on stderr, after its traceback with ``--debug``.

    Parameters
    ----------
    name : str
        Of the command.
    error : Exception
    image : Path or None
        The input that failed; only foreseen failures name it themselves.
    """
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(DEBUG):
        _say("".join(traceback.format_exception(error)).rstrip())
    foreseen = image is None or isinstance(error, FcpError)
    _say(f"{name if foreseen else f'{name}: {image}'}: error: {error_text(error)}")


def error_text(error: Exception) -> str:
    """Return a failure in words, on one line."""
    if isinstance(error, FcpError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = "not enough memory; close other programs or use a smaller image"
    else:  # not foreseen: name it, for a report
        text = f"{type(error).__name__}: {error} (unexpected; --debug shows where)"
    return " ".join(text.split())


def tqdm_progress() -> Progress:
    """Return a progress callback that draws a bar on stderr, or nothing if that is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return silent
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def progress(stage: str, done: int, total: int) -> None:
        bar = bars.get(stage)
        if bar is None:
            bar = bars[stage] = tqdm(total=total, desc=stage, leave=False, file=sys.stderr)
        bar.update(done - bar.n)
        if done >= total:
            bars.pop(stage).close()

    return progress


@contextmanager
def _warnings_as_lines(name: str) -> Iterator[None]:
    """Show every FcpWarning as one line on stderr; leave other warnings as they are."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
        if issubclass(category, FcpWarning):
            _say(f"{name}: warning: {' '.join(str(message).split())}")
        else:
            usual(message, category, *rest, **named)

    with warnings.catch_warnings():
        warnings.simplefilter("always", FcpWarning)
        warnings.showwarning = show
        yield


@contextmanager
def noted() -> Iterator[list[str]]:
    """Give a list that every FcpWarning of the block is added to; it is shown all the same."""
    notes: list[str] = []
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
        if issubclass(category, FcpWarning):
            notes.append(" ".join(str(message).split()))
        usual(message, category, *rest, **named)

    warnings.showwarning = show
    try:
        yield notes
    finally:
        warnings.showwarning = usual


def _say(line: str) -> None:
    """Print a line on stderr, above a progress bar if one is drawn; a closed one changes nothing."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            from tqdm import tqdm

            tqdm.write(line, file=sys.stderr)
        else:
            click.echo(line, err=True)
