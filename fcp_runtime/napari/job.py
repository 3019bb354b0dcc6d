"""Work in a thread of its own, with progress, that can be told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, Signal
from superqt.utils import FunctionWorker

from fcp_runtime.errors import FcpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fcp_runtime.machine.workers import Progress


class Stopped(Exception):  # noqa: N818 (it is no error)
    """Raised inside work that was told to stop."""


class Job(QObject):
    """One piece of work at a time.

    ``progressed(stage, done, total)``, ``told(value)``, whatever the work has to tell on its way, and
    ``ended()`` reach the thread of this object. An `FcpError` is shown as a notification with its
    text, other exceptions with napari's way to their traceback, and warnings as such.
    """

    progressed = Signal(str, int, int)
    told = Signal(object)
    ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._worker: Any = None
        self.stopping = False

    @property
    def running(self) -> bool:
        """Whether there is work under way, be it told to stop or not."""
        return self._worker is not None

    def start(self, work: Callable[[Progress, Callable[[Any], None]], None]) -> None:
        """Call ``work(progress, tell)`` in a thread."""
        worker = FunctionWorker(self._guard, work)
        worker.warned.connect(self._relay_warning)
        worker.errored.connect(self._relay_error)
        worker.finished.connect(self._finish)
        self._worker, self.stopping = worker, False
        worker.start()

    def stop(self) -> None:
        """Tell the work to stop; ``ended`` follows as soon as it has."""
        self.stopping = True
        if self._worker is not None:
            self._worker.quit()

    def _guard(self, work: Callable[[Progress, Callable[[Any], None]], None]) -> None:
        worker = self._worker

        def go_on() -> None:
            if worker.abort_requested:
                raise Stopped

        def progress(stage: str, done: int, total: int) -> None:
            go_on()
            self.progressed.emit(stage, done, total)

        def tell(value: Any) -> None:
            go_on()
            self.told.emit(value)

        try:
            work(progress, tell)
        except Stopped:
            pass
        except FcpError as error:
            show_error(str(error))

    def _relay_warning(self, warning: tuple[Any, ...]) -> None:
        notification_manager.receive_warning(*warning)

    def _relay_error(self, error: Exception) -> None:
        notification_manager.receive_error(type(error), error, error.__traceback__)

    def _finish(self) -> None:
        self._worker = None
        self.ended.emit()
