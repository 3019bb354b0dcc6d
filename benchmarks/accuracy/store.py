"""Results of one model on one image each, kept as lines of JSON so that none is computed twice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from benchmarks.store import LineStore
from fcp_runtime.evaluate.metrics import Counts, Scores
from fcp_runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.accuracy.images import Item

Rule = Literal["gt", "auto"]
"""Whether the true diameter was given or it was estimated."""

IDLE = {
    "2d": {"model", "stitch_threshold", "slice_spacing", "empty_margin"},
    "3d": {"model", "flow_threshold", "stitch_threshold"},
}
"""Settings that change nothing in a mode; the model has results of its own anyway."""


class Key(NamedTuple):
    """What a result depends on, besides the model and the code."""

    image: str
    digest: str
    rule: Rule


@dataclass(frozen=True)
class Record:
    """What came of one image.

    Attributes
    ----------
    image, digest, rule
        The `Key`.
    at : list
        True positives, false positives and false negatives at each of the ten IoU thresholds.
    lenient : list
        The same three by the thesis's rule.
    at_whole, lenient_whole : list or None
        The same with fragments of nuclei ignored, for sources that have them.
    diameter_is_right : bool or None
        Whether an estimated diameter was within 25 % of the true median.
    network_seconds, total_seconds : float
    threads : int
    code : str
        Digest of the code that made the masks.
    settings : dict
    """

    image: str
    digest: str
    rule: Rule
    at: list[list[int]]
    lenient: list[int]
    at_whole: list[list[int]] | None
    lenient_whole: list[int] | None
    diameter_is_right: bool | None
    network_seconds: float
    total_seconds: float
    threads: int
    code: str
    settings: dict[str, Any]

    @property
    def key(self) -> Key:
        """What it depends on."""
        return Key(self.image, self.digest, self.rule)

    @property
    def scores(self) -> Scores:
        """The counts, ready to be pooled."""
        return Scores(tuple(Counts(*counts) for counts in self.at), Counts(*self.lenient))

    @property
    def has_usual_settings(self) -> bool:
        """Whether no setting of consequence had another value than its present default.

        What is filled in from image and model has no default, and a setting that did not exist
        has the default since.
        """
        idle = IDLE[self.settings["mode"]]
        usual = {k: v for k, v in Settings().as_dict().items() if v is not None and k not in idle}
        return all(self.settings.get(name, value) == value for name, value in usual.items())

    @property
    def whole_scores(self) -> Scores | None:
        """The counts without fragments, where a source has them."""
        if self.at_whole is None or self.lenient_whole is None:
            return None
        at = tuple(Counts(*counts) for counts in self.at_whole)
        return Scores(at, Counts(*self.lenient_whole))


def as_lists(scores: Scores) -> tuple[list[list[int]], list[int]]:
    """Return the counts as plain lists: at the thresholds, and lenient."""

    def plain(counts: Counts) -> list[int]:
        return [counts.tp, counts.fp, counts.fn]

    return [plain(counts) for counts in scores.at], plain(scores.lenient)


class Store:
    """The results of one model: ``NETWORK-HASH.jsonl`` in a folder.

    Parameters
    ----------
    folder : Path
        Made if need be.
    network, sha256 : str
        Of the model. Another file of the same network has results of its own.
    """

    def __init__(self, folder: Path, network: str, sha256: str) -> None:
        self._lines = LineStore(folder / f"{network}-{sha256[:12]}.jsonl", Key._fields)
        known = {field.name for field in fields(Record)}
        found = [values for values in self._lines.results.values() if values.keys() == known]
        self.records = {record.key: record for record in (Record(**values) for values in found)}

    @property
    def path(self) -> Path:
        """The file."""
        return self._lines.path

    def find(self, item: Item, rule: Rule) -> Record | None:
        """Return the result for an image as it is now, with the settings usual now, or None."""
        record = self.records.get(Key(item.key, item.digest, rule))
        return record if record is not None and record.has_usual_settings else None

    def add(self, record: Record) -> None:
        """Keep a result, in the file too; a second one for the same image takes its place."""
        self.records[record.key] = record
        self._lines.add(asdict(record))
