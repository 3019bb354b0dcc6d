"""The threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fcp_runtime.errors import MachineError, SettingsError
from fcp_runtime.machine.workers import Workers


@pytest.mark.parametrize("count", [0, -1, 1025, 10**20, 1e20, 2.5, float("nan"), True, "2"])
def test_an_impossible_number_of_threads_is_refused(count):
    with pytest.raises(SettingsError, match="threads must be a whole number from 1 to 1024, not"):
        Workers(count)


@pytest.mark.parametrize("count", [1, 2.0, np.int64(3), np.float32(4)])
def test_a_whole_number_of_any_type_is_taken(count):
    workers = Workers(count)
    assert type(workers.count) is int
    assert workers.map(lambda x: x * x, range(5)) == [0, 1, 4, 9, 16]


def test_a_system_that_starts_no_more_threads_is_one_clear_error(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MachineError, match=r"cannot start 3 threads: use fewer"):
        Workers(3).map(abs, [1])
