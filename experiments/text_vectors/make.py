"""Writes a vector per task: the embedding of a sentence that is put together from the task's YAML.

python make.py                                       # every task of conf/task and conf/dataset
python make.py my_task.yaml --output vectors.json    # own tasks beside them
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import wordllama
import yaml

CONF = Path(__file__).parents[2] / "conf"
OUTPUT = CONF / "text_vectors" / "wordllama.json"
PROMPT = "A {modalities} scan of the {name}, showing {classes}."
MR = "magnetic resonance"
WORDS = {
    "CT": "computed tomography", "MR": MR, "PET": "positron emission tomography", "T1": f"T1-weighted {MR}",
    "T2": f"T2-weighted {MR}", "FLAIR": f"FLAIR {MR}",
    "T1ce": f"contrast-enhanced T1-weighted {MR}", "LGE": f"late gadolinium enhancement {MR}", "cine": f"cine {MR}",
}  # fmt: skip
DIGITS = 4


def sentence(name: str, task: dict) -> str:
    """What the text model reads of a task."""
    modalities = [WORDS.get(m, m) for m in task["modalities"]]
    classes = [c.replace("_", " ") for c in task["classes"][1:]]
    return PROMPT.format(
        modalities=" and ".join(modalities), name=name.replace("_", " "), classes=" and ".join(classes)
    )


def declared(path: Path) -> dict[str, dict]:
    """The tasks of a data-set file, as far as their sentences need them."""
    shared = yaml.safe_load(path.read_text())
    tasks = shared.pop("tasks")
    own = {name: {"classes": task} if isinstance(task, list) else task or {} for name, task in tasks.items()}
    blocks = {name: shared | task for name, task in own.items()}
    return {name: block | {"classes": ["background", *block["classes"]]} for name, block in blocks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", type=Path, nargs="*", help="task files beside those of conf/task")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    files = [*sorted((CONF / "task").glob("*.yaml")), *options.tasks]
    tasks = {path.stem: yaml.safe_load(path.read_text()) for path in files}
    for path in sorted((CONF / "dataset").glob("*.yaml")):
        tasks |= declared(path)
    sentences = {name: sentence(name, task) for name, task in sorted(tasks.items())}
    folder = Path(wordllama.__file__).parent  # weights and tokenizer lie in the package
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    vectors = model.embed(list(sentences.values()), norm=True)
    rows = [
        f'  "{name}": {json.dumps([round(float(x), DIGITS) for x in vector])}'
        for name, vector in zip(sentences, vectors, strict=True)
    ]
    head = f'"model": "wordllama {version("wordllama")}, l2_supercat_256", "prompt": {json.dumps(PROMPT)}'
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(f'{{{head}, "vectors": {{\n' + ",\n".join(rows) + "\n}}\n")


if __name__ == "__main__":
    main()
