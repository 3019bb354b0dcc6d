"""What this process may use of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

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
    monkeypatch.setattr(system, "cpu_quota", lambda: quota)
    assert system.usable_cpus() == cpus


def test_without_affinity_all_cpus_count(monkeypatch):
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.setattr(system, "cpu_quota", lambda: None)
    assert system.usable_cpus() == 5


def test_a_machine_that_knows_no_cpus_has_one(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: None, raising=False)
    monkeypatch.setattr(system, "cpu_quota", lambda: None)
    assert system.usable_cpus() == 1


@pytest.fixture
def group(tmp_path):
    """A function that writes a file below /sys/fs/cgroup, and one that says which groups we are in."""
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    root.mkdir()

    def write(name, text):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    def belong(text):
        membership.write_text(text)

    return SimpleNamespace(write=write, belong=belong, places=(root, membership))


@pytest.mark.parametrize(
    ("text", "quota"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("nonsense", None), ("", None)],
)
def test_the_quota_file_is_understood(group, text, quota):
    group.write("cpu.max", text)
    assert system.cpu_quota(*group.places) == quota


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "cpus"), [("-1", None), ("150000", 1.5), ("nonsense", None)])
def test_the_quota_files_of_older_containers_are_understood(group, folder, quota, cpus):
    group.write(f"{folder}/cpu.cfs_quota_us", f"{quota}\n")
    group.write(f"{folder}/cpu.cfs_period_us", "100000\n")
    assert system.cpu_quota(*group.places) == cpus


@pytest.mark.parametrize("version", [1, 2])
def test_the_least_limit_of_all_groups_around_the_process_counts(group, version):
    if version == 1:
        group.belong("9:name=systemd:/\n4:memory:/job/step\n1:cpu,cpuacct:/job/step\n0::/\n")
        name = "memory/{}memory.limit_in_bytes"
    else:
        group.belong("0::/job/step\n")
        name = "{}memory.max"
    for path, limit in (("", "9223372036854771712"), ("job/", "3000"), ("job/step/", "5000")):
        group.write(name.format(path), limit)
    group.write(name.format("other/"), "1")
    assert system.memory_limit(*group.places) == 3000


def test_a_group_that_the_container_does_not_see_leaves_its_own_limits(group):
    group.belong("0::/../../system.slice/docker-1f.scope\n")
    group.write("memory.max", "4000\n")
    group.write("cpu.max", "50000 100000\n")
    assert system.memory_limit(*group.places) == 4000
    assert system.cpu_quota(*group.places) == 0.5


def test_no_files_of_groups_mean_no_limit(group):
    assert system.cpu_quota(*group.places) is None
    assert system.memory_limit(*group.places) is None


def test_memory_is_what_the_least_limit_grants(monkeypatch):
    monkeypatch.setattr(system, "memory_limit", lambda: 2**30)
    monkeypatch.setattr(system, "address_space", lambda: 2**31)
    assert system.machine_memory() == 2**30
    monkeypatch.setattr(system, "memory_limit", lambda: None)
    assert system.machine_memory() == 2**31
    monkeypatch.setattr(system, "address_space", lambda: None)
    assert system.machine_memory() > 2**20


@linux
def test_too_little_address_space_is_said_before_libraries_crash_in_it():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))\n"
        "import fcp_runtime"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(
        "MachineError: this process may use 300 MiB of address space, and needs 800 MiB at least: "
        "raise the limit (ulimit -v)"
    )


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
