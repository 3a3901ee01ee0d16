"""The batches of today's recipes from fixed seeds stay what they were, to the last bit where they were recorded."""

import hashlib

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from samples import make_task
from uniseg.cache.store import CaseEntry, TaskCache, write_case, write_task
from uniseg.datasets.splits import SplitTable
from uniseg.environment import CONF_DIR
from uniseg.sampling.patches import PatchReader, make_batch
from uniseg.sampling.requests import RequestStream, TaskCases
from uniseg.sampling.settings import StreamSettings
from uniseg.task import Normalization

PATCH, SHAPE, STEPS = (8, 12, 10), (20, 30, 27), 24
# By recipe: checksums of requests with labels and of images, sum of the images' absolute values.
RECORDED = {
    "nnunet": ("b2fd34042507ae50", "72cf0fa001ea2261", 93577.02063125496),
    "no_mirror": ("546ef530f8bc6990", "8b370713e974e5a8", 92752.92942785233),
    "none": ("be732e09e580bba4", "5f12e323e0ef8d6a", 132407.24248099327),
}
RECORDED_ON = ("2.13.0", "AVX512")  # another PyTorch or processor rounds differently


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """Two tasks: CT; MR of three channels normalised inside the body, one of them optional."""
    folder, rng = tmp_path_factory.mktemp("cache"), np.random.default_rng(0)
    ct = make_task("ct")
    mr = make_task("mr", ("T1", "T2", "FLAIR"), optional=("FLAIR",)).resolve([Normalization("zscore", masked=True)] * 3)
    for task in (ct, mr):
        entries = [CaseEntry(f"{task.name}_{letter}", f"set/{letter}", SHAPE, "key") for letter in "ab"]
        for entry in entries:
            image = rng.normal(size=(task.num_modalities, *SHAPE)).astype(np.float32)
            image[:, :6] *= task is ct
            write_case(folder / task.name, entry, image, (image[0] > 1).astype(np.int16), task)
        ids = tuple(entry.case_id for entry in entries)
        write_task(folder / task.name, task, entries, SplitTable((), (ids,), (), {i: f"set/{i}" for i in ids}))
    caches = [TaskCache(folder / task.name) for task in (ct, mr)]

    def run(name: str):
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            recipe = instantiate(compose("train", overrides=[f"augment={name}"]).augment, _convert_="all")
        stream = RequestStream(
            [
                TaskCases("ct", ("ct_a", "ct_b"), (False,), (False,)),
                TaskCases("mr", ("mr_a", "mr_b"), (False, False, True), (True,) * 3),
            ],
            StreamSettings(steps_per_epoch=STEPS, foreground_fraction=0.5),
            recipe,
            seed=3,
        )
        reader = PatchReader(caches, PATCH)
        return [make_batch(reader.__getitems__(stream.batch(step)), PATCH, recipe) for step in range(STEPS)]

    return run


@pytest.mark.parametrize("name", RECORDED)
def test_batches_stay_what_they_were(batches, name):
    labels, images, size = hashlib.sha256(), hashlib.sha256(), 0.0
    for batch in batches(name):
        labels.update(repr((batch.task.tolist(), batch.case_ids, batch.step)).encode())
        labels.update(batch.label.numpy().tobytes())
        images.update((batch.image + 0.0).numpy().tobytes())
        size += float(batch.image.abs().double().sum())
    assert size == pytest.approx(RECORDED[name][2], rel=1e-5)
    if (torch.__version__.partition("+")[0], torch.backends.cpu.get_cpu_capability()) == RECORDED_ON:
        assert (labels.hexdigest()[:16], images.hexdigest()[:16]) == RECORDED[name][:2]
