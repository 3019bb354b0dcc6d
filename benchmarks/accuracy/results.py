"""All results at hand, and the parts of the data that tables and figures show."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING

from benchmarks.accuracy.bootstrap import Difference, paired_difference
from fcp_runtime.evaluate.metrics import Scores, pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.accuracy.images import Item
    from benchmarks.accuracy.models import Model, Role
    from benchmarks.accuracy.store import Record


@dataclass(frozen=True)
class Part:
    """Images that make one row or one table.

    Attributes
    ----------
    split, title : str
    items : tuple of Item
    whole : bool
        Whether fragments of nuclei are ignored.
    total : bool
        Whether it is all of the split.
    """

    split: str
    title: str
    items: tuple[Item, ...]
    whole: bool = False
    total: bool = False

    @property
    def recall_only(self) -> bool:
        """Whether the truth is incomplete, so that nothing but recall can be told."""
        return any(item.row.recall_only for item in self.items)


def parts_of(items: Sequence[Item]) -> list[Part]:
    """Return the parts: of each split its sources, with and without fragments, then all of it."""
    parts = []
    for split in dict.fromkeys(item.row.split for item in items):
        mine = [item for item in items if item.row.split == split]
        for source in dict.fromkeys(item.source for item in mine):
            these = tuple(item for item in mine if item.source == source)
            parts.append(Part(split, source, these))
            for voxels in sorted({i.row.fragment_voxels for i in these if i.row.fragment_voxels}):
                some = tuple(item for item in these if item.row.fragment_voxels == voxels)
                title = f"{source}, labels of {voxels} voxels and more"
                parts.append(Part(split, title, some, whole=True))
        judged = tuple(item for item in mine if not item.row.recall_only)
        if len({item.source for item in judged}) > 1:
            parts.append(Part(split, f"all of {split}", judged, total=True))
    return parts


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation; the latter is None of one value."""

    mean: float
    sd: float | None


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation of at least one value."""
    return Spread(mean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Summary:
    """One model on one part.

    Attributes
    ----------
    pooled : Scores
        Counts added over images.
    single : tuple of Scores
        Of each image.
    network : tuple of float
        Seconds of each image.
    """

    pooled: Scores
    single: tuple[Scores, ...]
    network: tuple[float, ...]

    @property
    def true_objects(self) -> int:
        """How many objects there are."""
        half = self.pooled.counts(0.5)
        return half.tp + half.fn

    @property
    def found_objects(self) -> int:
        """How many objects were predicted."""
        half = self.pooled.counts(0.5)
        return half.tp + half.fp

    def over_images(self, score: Callable[[Scores], float]) -> Spread:
        """Return mean and standard deviation of a score over images."""
        return spread([score(one) for one in self.single])


@dataclass(frozen=True)
class Results:
    """Results of the models on the images.

    Attributes
    ----------
    items : tuple of Item
    models : tuple of Model
    records : mapping of (Model, Item) to Record
        At true diameters; a model need not have all images.
    estimated : mapping of (Model, Item) to Record
        At estimated diameters, where these were asked for.
    """

    items: tuple[Item, ...]
    models: tuple[Model, ...]
    records: Mapping[tuple[Model, Item], Record]
    estimated: Mapping[tuple[Model, Item], Record]

    @property
    def parts(self) -> list[Part]:
        """All parts of the images."""
        return parts_of(self.items)

    def of_role(self, *roles: Role) -> list[Model]:
        """Return the models of some roles, in their order."""
        return [one for one in self.models if one.role in roles]

    @property
    def teacher(self) -> Model | None:
        """The teacher, if it takes part."""
        return next(iter(self.of_role("teacher")), None)

    def scores(self, model: Model, part: Part, item: Item) -> Scores | None:
        """Return the counts of a model on an image of a part, or None if it was not measured."""
        record = self.records.get((model, item))
        if record is None:
            return None
        return record.whole_scores if part.whole else record.scores

    def summary(self, model: Model, part: Part) -> Summary | None:
        """Sum up a model on a part; None if it has no image of it."""
        found = [(item, self.scores(model, part, item)) for item in part.items]
        single = tuple(scores for _, scores in found if scores is not None)
        if not single:
            return None
        seconds = tuple(
            self.records[model, item].network_seconds
            for item, scores in found
            if scores is not None
        )
        return Summary(pool(single), single, seconds)

    def complete(self, model: Model, part: Part) -> Summary | None:
        """Sum up a model on a part; None if it lacks an image of it, or nothing but recall is told."""
        found = None if part.recall_only else self.summary(model, part)
        return found if found is not None and len(found.single) == len(part.items) else None

    def difference(self, first: Model, second: Model, part: Part) -> Difference | None:
        """Compare two models on the images that both have; None if there are none."""
        pairs = [
            (mine, its, item.group)
            for item in part.items
            if (mine := self.scores(first, part, item)) is not None
            and (its := self.scores(second, part, item)) is not None
        ]
        if not pairs or part.recall_only:
            return None
        return paired_difference(*(list(column) for column in zip(*pairs, strict=True)))
