"""What this process may use of the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fcp_runtime.machine import system

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux interfaces")


@linux
def test_the_affinity_of_the_process_limits_its_cpus():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from fcp_runtime.machine.system import usable_cpus; print(usable_cpus())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("quota", "cpus"), [(None, 8), (16.0, 8), (2.0, 2), (1.5, 2), (0.25, 1), (0.0, 1)]
)
def test_the_quota_of_a_container_limits_its_cpus(monkeypatch, quota, cpus):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    monkeypatch.setattr(system, "_cgroup_quota", lambda: quota)
    assert system.usable_cpus() == cpus


def test_without_affinity_all_cpus_count(monkeypatch):
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.setattr(system, "_cgroup_quota", lambda: None)
    assert system.usable_cpus() == 5


def test_a_machine_that_knows_no_cpus_has_one(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: None, raising=False)
    monkeypatch.setattr(system, "_cgroup_quota", lambda: None)
    assert system.usable_cpus() == 1


@pytest.mark.parametrize(
    ("text", "quota"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("nonsense", None), ("", None)],
)
def test_the_quota_file_is_understood(tmp_path, text, quota):
    (tmp_path / "cpu.max").write_text(text)
    assert system._cgroup_quota(tmp_path) == quota


def test_no_quota_file_means_no_limit(tmp_path):
    assert system._cgroup_quota(tmp_path) is None


GROW = (
    "from fcp_runtime.machine.system import peak_memory\n"
    "before = peak_memory(); block = bytearray(b'x') * (300 << 20); del block\n"
    "print(before, peak_memory() - before)"
)


@pytest.mark.skipif(os.name != "posix", reason="started as on POSIX")
def test_peak_memory_is_in_bytes_and_stays_after_the_memory_is_released():
    done = subprocess.run([sys.executable, "-c", GROW], capture_output=True, text=True, check=True)
    before, grown = map(int, done.stdout.split())
    assert 1 << 20 < before < 300 << 20
    assert 280 << 20 < grown < 400 << 20


@linux
def test_peak_memory_does_not_count_the_program_that_started_this_one():
    block = bytearray(b"x") * (400 << 20)
    done = subprocess.run([sys.executable, "-c", GROW], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[0]) < len(block) * 3 // 4


@pytest.mark.skipif(os.name != "nt", reason="Windows interface")
def test_peak_memory_on_windows_is_plausible():
    assert 1 << 20 < system.peak_memory() < 1 << 40
