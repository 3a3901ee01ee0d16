"""What the base knows of its training scans: from its file, or from the cache that it was trained from."""

from pathlib import Path

from uniseg.cache.statistics import task_statistics
from uniseg.cache.store import TaskCache, is_prepared
from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.task_statistics import TaskStatistics
from uniseg.weights.reading import reading


def known_statistics(model: UniSegModel, reference: str | Path | None = None) -> dict[str, TaskStatistics]:
    """By task, of those of which something is known.

    Args:
        reference: folder of the prepared tasks that the network was trained from, for one that was trained before its
            file said it.

    Raises:
        InputError: they are damaged.
    """
    known = {}
    for name, facts in model.provenance.data.items():
        if "statistics" in facts:
            with reading(f"statistics of task '{name}'", "as training writes them", "train the network again"):
                known[name] = TaskStatistics.from_dict(facts["statistics"])
    if reference is None:
        return known
    for name in model.tasks.names:
        folder = Path(reference) / name
        if name not in known and is_prepared(folder):
            cache = TaskCache(folder)
            trained = set(model.provenance.data.get(name, {}).get("train", cache.entries))
            known[name] = task_statistics(cache, [case_id for case_id in cache.entries if case_id in trained])
    return known
