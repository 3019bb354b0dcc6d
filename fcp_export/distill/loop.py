"""The training loop: Adam, cosine schedule, averaged weights, early stopping, resumable.

A run is a folder: ``settings.json``, ``rows.json`` (what it learnt from), ``log.jsonl``,
``log.csv`` and ``curves.png``, ``checkpoint.pt`` (everything needed to go on), and the averaged
weights: ``student.safetensors``, or ``teacher.pt`` for the network of Cellpose itself. They are
those of the end, or those that validated best where training stopped early.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from fcp_export.distill.curves import write_curves
from fcp_export.distill.loss import distillation_loss, overlap_counts
from fcp_export.distill.settings import learning_rate, stop_early
from fcp_export.teacher import to_cellpose
from fcp_runtime.errors import FcpWarning, InputError
from fcp_runtime.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from fcp_export.architectures.networks import Network
    from fcp_export.data.patches import Batch, Sampler
    from fcp_export.distill.settings import DistillSettings
    from fcp_runtime.machine.workers import Progress

VALIDATION_BATCHES = 16
TEACHER = "cellpose"
"""Key of the network whose weights are saved in Cellpose's format."""


class Run:
    """A training run in a folder; `train` starts it or goes on where it stopped.

    Parameters
    ----------
    folder : Path
        Made if need be.
    settings : DistillSettings
    net : Network
        The network at the start of the run; it is trained in place.
    resume : bool
        Go on from ``checkpoint.pt``; without it a folder that holds one is refused.

    Raises
    ------
    InputError
        If the folder holds a run of other settings, or one and ``resume`` is not set.
    """

    def __init__(
        self, folder: Path, settings: DistillSettings, net: Network, *, resume: bool
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.net = net
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(net).eval()
        self.optimizer = torch.optim.AdamW(
            [p for p in self.net.parameters() if p.requires_grad],
            lr=settings.learning_rate,
            weight_decay=1e-5,
        )
        self.step = 0
        self.scores: list[float] = []
        self.skipped = 0
        self.seconds = 0.0  # of all the times the run went on
        self.best: dict[str, Any] = {"iou": -1.0, "step": 0, "weights": {}}
        self.origin: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            if not resume:
                raise InputError(f"{folder}: holds a run already; add --resume or choose another")
            self._load()
        else:
            _write_json(folder / "settings.json", asdict(settings))

    @property
    def result(self) -> Path:
        """The file of the averaged weights."""
        name = "teacher.pt" if self.settings.student == TEACHER else "student.safetensors"
        return self.folder / name

    def made_from(self, **origin: str) -> None:
        """Remember what the run is made from, by hash; an older run is told it now.

        Parameters
        ----------
        **origin : str
            For options of the command (teacher, manifest, ...) what identifies their content.

        Raises
        ------
        InputError
            If the run was begun with something else under the same name.
        """
        for name, identity in origin.items():
            if self.origin.setdefault(name, identity) != identity:
                raise InputError(
                    f"{self.folder}: its run was begun with another --{name}; "
                    "resume with the same one or choose another folder"
                )

    def write_rows(self, planes: Mapping[str, Sequence[str]], held: Collection[str]) -> None:
        """Write which images the run was given, by plane, and the groups kept for validation.

        Warns
        -----
        FcpWarning
            If a run that goes on kept other groups before: an older version chose in another way.
        """
        record = {"images": sorted(planes), "validation_groups": sorted(held)}
        file = self.folder / "rows.json"
        if self.step and file.exists():
            before = json.loads(file.read_text(encoding="utf-8"))["validation_groups"]
            if before != record["validation_groups"]:
                warnings.warn(
                    f"{self.folder}: until step {self.step} other groups were kept for validation; "
                    "scores before and after it do not compare",
                    FcpWarning,
                    stacklevel=2,
                )
        _write_json(file, record | {"planes": dict(planes)})

    def write_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Write what the network was made of beside it, for the manifest of models.

        Parameters
        ----------
        provenance : mapping
            From `fcp_export.provenance.provenance_of_run`; its recipe gets the steps that were done
            and, if training stopped early, the step whose weights were taken.
        """
        steps = {"steps_done": self.step}
        if self.takes_best:
            steps["step_taken"] = self.best["step"]
        recipe = provenance["recipe"] | steps
        _write_json(self.result.with_suffix(".json"), {**provenance, "recipe": recipe})

    @property
    def stopped(self) -> bool:
        """Whether the validations say that training is over."""
        return stop_early(self.scores, self.settings.patience)

    @property
    def takes_best(self) -> bool:
        """Whether the result is what validated best; a run of before that was kept has none."""
        return self.stopped and bool(self.best["weights"])

    def train(self, train: Sampler, validation: Sampler, progress: Progress) -> Network:
        """Train to the end of the schedule or until stopping early; return the averaged network.

        An interrupt leaves a checkpoint behind. Batches depend on seed and step only, so a
        resumed run sees the patches it would have seen.

        Warns
        -----
        FcpWarning
            If it is over, because it stopped early the last time.
        """
        settings = self.settings
        if self.stopped:
            warnings.warn(
                f"{self.folder}: its run stopped early after step {self.step}; "
                "a larger --patches prolongs it",
                FcpWarning,
                stacklevel=2,
            )
        started, losses = time.monotonic() - self.seconds, []
        drawer = ThreadPoolExecutor(1)  # the next batch is drawn while this one is learnt from
        drawn = drawer.submit(train.batch, np.random.default_rng((settings.seed, self.step)))
        try:
            while self.step < settings.steps and not self.stopped:
                batch = drawn.result()
                rng = np.random.default_rng((settings.seed, self.step + 1))
                drawn = drawer.submit(train.batch, rng)
                losses.append(self._learn(batch))
                self.step += 1
                self.seconds = time.monotonic() - started
                if self.step % settings.validate_every == 0 or self.step == settings.steps:
                    record = self._validate(validation)
                    record |= {
                        "step": self.step,
                        "patches": self.step * settings.batch_size,
                        "train_loss": float(np.nanmean(losses)),
                        "skipped_steps": self.skipped,
                        "seconds": round(self.seconds, 1),
                    }
                    self._log(record)
                    self._count(record["validation_iou"])
                    self._save()
                    losses = []
                progress("distil", self.step, settings.steps)
        except KeyboardInterrupt:
            self._save()
            raise
        finally:
            drawer.shutdown()
            write_curves(self.folder)
        if self.takes_best:
            self.average.load_state_dict(self.best["weights"])
        with replacing(self.result) as temporary:
            if self.settings.student == TEACHER:
                torch.save(to_cellpose(self.average), temporary)
            else:
                weights = self.average.state_dict()
                temporary.write_bytes(save({k: v.contiguous() for k, v in weights.items()}))
        return self.average

    def _learn(self, batch: Batch) -> float:
        """Take one step; return the loss, NaN if its gradient was not finite."""
        self.net.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, self.step)
        images = batch.images.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            out = self.net(images)
        loss = distillation_loss(out.float(), batch.maps, batch.inside, self.settings.target)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        if not torch.isfinite(norm):  # bfloat16 does this in about one step of twenty
            self.skipped += 1
            return math.nan
        self.optimizer.step()
        decay = min(self.settings.average, (1 + self.step) / (10 + self.step))
        _average(self.average, self.net, decay)
        return float(loss.detach())

    @torch.inference_mode()
    def _validate(self, validation: Sampler) -> dict[str, Any]:
        """Score the averaged network on validation patches, the same ones each time."""
        losses, common, either = [], 0, 0
        for index in range(VALIDATION_BATCHES):
            batch = validation.batch(np.random.default_rng((index, 1)))
            out = self.average(batch.images)
            losses.append(
                float(distillation_loss(out, batch.maps, batch.inside, self.settings.target))
            )
            both, any_ = overlap_counts(out, batch.maps, batch.inside)
            common, either = common + both, either + any_
        iou = common / either if either else 1.0
        return {"validation_loss": float(np.mean(losses)), "validation_iou": iou}

    def _count(self, iou: float) -> None:
        """Count a validation, and keep the averaged weights if it is the best."""
        self.scores.append(iou)
        if iou > self.best["iou"]:
            weights = {name: value.clone() for name, value in self.average.state_dict().items()}
            self.best = {"iou": iou, "step": self.step, "weights": weights}

    def _log(self, record: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")

    def _save(self) -> None:
        state = {
            "settings": asdict(self.settings),
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "scores": self.scores,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "best": self.best,
            "origin": self.origin,
        }
        with replacing(self.folder / "checkpoint.pt") as temporary:
            torch.save(state, temporary)

    def _load(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", weights_only=True)
        before, now = _flat(state["settings"]), _flat(asdict(self.settings))
        # a run may be prolonged, and an older one does not know every setting
        different = [k for k, v in now.items() if k != "patches" and before.get(k, v) != v]
        if different:
            raise InputError(
                f"{self.folder}: its run has another {', '.join(different)}; "
                "resume with the same settings or choose another folder"
            )
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.scores, self.skipped = state["step"], state["scores"], state["skipped"]
        self.seconds = state.get("seconds", self.seconds)
        self.best, self.origin = state.get("best", self.best), state.get("origin", {})
        if self.settings.patches > before["patches"]:
            self.scores = []  # what is prolonged is judged anew


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with those of the data among them."""
    data: dict[str, Any] = settings.get("data", {})
    return {k: v for k, v in settings.items() if k != "data"} | data


@torch.no_grad()
def _average(average: Network, net: Network, decay: float) -> None:
    """Move the averaged weights and running statistics towards the network's."""
    current: dict[str, Tensor] = net.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])
