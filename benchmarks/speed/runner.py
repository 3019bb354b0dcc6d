"""Runs measurements in fresh processes, and makes what they need: stacks, models, Cellpose."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.speed.plan import TEACHER
from benchmarks.speed.scenes import Scene

ROOT = Path(__file__).parents[2]
CELLPOSE = ("cellpose==3.1.1.2", "numpy<2.1")
"""numpy 2.1 took away what this Cellpose needs."""


class FailedMeasurementError(RuntimeError):
    """A measurement's process failed; it has said why on standard error."""


@dataclass(frozen=True)
class Runner:
    """Where things are made.

    Attributes
    ----------
    folder : Path
        Of the results.
    teacher : Path or None
        Cellpose's own network as a torch file.
    cellpose_python : Path or None
        Python of an environment that has Cellpose 3.1.1.2; None makes one.
    torch : str
        Which torch pip installs there, such as ``torch==2.13.0+cpu``.
    """

    folder: Path
    teacher: Path | None
    cellpose_python: Path | None
    torch: str

    def measure(self, task: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Do a task in a fresh process, what it needs made before.

        Raises
        ------
        FailedMeasurementError
            If the process fails.
        """
        given = dict(arguments)
        scene = Scene.from_dict(given.pop("scene"))
        self._make(scene)
        given |= {
            "image": str(scene.image(self.stacks)),
            "labels": str(scene.labels(self.stacks)),
            "anisotropy": scene.anisotropy,
        }
        if given.get("model") == TEACHER:
            given["model"] = str(self._teacher_model())
        if task == "cellpose":
            given |= {"teacher": str(self._teacher()), "python": str(self._cellpose())}
        return self._run(task, given | {"started": time.time()})

    @property
    def stacks(self) -> Path:
        """Folder of the synthetic stacks."""
        return self.folder / "stacks"

    def warm_up(self, model: str) -> None:
        """Segment a small stack, so that the kernels are compiled and their cache is filled."""
        scene = Scene("compact", (16, 64, 64), foreground=0.3)
        for anisotropy in (1.0, 2.0):
            arguments = {"scene": vars(replace(scene, anisotropy=anisotropy))}
            self.measure("stages", arguments | {"model": model, "threads": 1})
        self.measure("masks", {"scene": vars(scene), "model": model, "threads": 1})

    def _run(self, task: str, arguments: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.speed.tasks"],
            input=json.dumps({"task": task, "arguments": arguments}),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
        if done.returncode:
            raise FailedMeasurementError(f"{task} failed with exit code {done.returncode}")
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def _make(self, scene: Scene) -> None:
        if scene.labels(self.stacks).exists():
            return
        if scene.crop is not None:
            self._make(replace(scene, crop=None))
        self.stacks.mkdir(parents=True, exist_ok=True)
        self._run("phantom", {"scene": vars(scene), "folder": str(self.stacks)})

    def _teacher(self) -> Path:
        if self.teacher is None:
            raise AssertionError("such measurements are planned only where there is a teacher")
        return self.teacher.resolve()

    def _teacher_model(self) -> Path:
        """Return Cellpose's own network as ONNX, made by fcp-export if need be."""
        made = self.folder / "teacher" / "cellpose.onnx"
        if not made.exists():
            _call(
                *(sys.executable, "-c", "from fcp_export.cli.export import main; main()"),
                *("--student", "cellpose", "--checkpoint", self._teacher(), "-o", made.parent),
            )
        return made

    def _cellpose(self) -> Path:
        """Return the Python that has Cellpose, its environment made if need be: torch first."""
        if self.cellpose_python is not None:
            return self.cellpose_python
        home = (self.folder / "cellpose_env").resolve()
        python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        ready = home / "ready"
        if not ready.exists():
            _call(sys.executable, "-m", "venv", home)
            _call(python, "-P", "-m", "pip", "install", "--quiet", self.torch)
            _call(python, "-P", "-m", "pip", "install", "--quiet", *CELLPOSE)
            ready.touch()
        return python


def _call(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], stdout=sys.stderr, cwd=ROOT, check=False)
    if done.returncode:
        raise FailedMeasurementError(f"{' '.join(map(str, words))}: exit code {done.returncode}")
