"""The head of a model card that Hugging Face's hub reads: licence, library, tags, data sets, metrics."""

import re
from collections.abc import Mapping

import yaml

from uniseg.models.uniseg import UniSegModel
from uniseg.preprocessing.modality import kind_of
from uniseg.weights.licences import UNKNOWN, strictness

# What a hub calls a licence is its name, in lower case, with a hyphen for a space; those of the hub's list.
HUB_LICENCES = re.compile(r"cc-by(-nc)?(-sa|-nd)?-[234]\.[05]|cc0-1\.0|apache-2\.0|mit|pddl|bsd")
IDENTIFIER = re.compile(r"[^\w.-]+")


def front_matter(model: UniSegModel, licence: str) -> str:
    """YAML between its two lines.

    Args:
        licence: the strictest of the training data.
    """
    known = re.sub(r"\s+", "-", licence.strip().lower())
    named: Mapping[str, str] = {"license": known}
    if strictness(licence) == UNKNOWN or not HUB_LICENCES.fullmatch(known):
        named = {"license": "other", "license_name": _identifier(licence) or "unknown"}
    kinds = dict.fromkeys(kind_of(modality) for task in model.tasks for modality in task.modalities)
    values = {
        **named,
        "library_name": "uniseg",
        "pipeline_tag": "image-segmentation",
        "tags": ["uniseg", "medical", "3d", "segmentation", *(kind.lower() for kind in kinds)],
        "datasets": [each for name in model.provenance.data if (each := _identifier(name))],
        "metrics": ["dice"],
    }
    return f"---\n{yaml.safe_dump({key: value for key, value in values.items() if value}, sort_keys=False)}---\n"


def _identifier(text: str) -> str:
    return IDENTIFIER.sub("-", text.lower()).strip("-.")[:96]
