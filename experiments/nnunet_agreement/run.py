"""Real nnU-Nets, imported: Dice between nnU-Net's own validation predictions and ours.

    python experiments/nnunet_agreement/run.py --nnunet-python /envs/nnunet/bin/python --data hippocampus_msd

A step that is done is not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from uniseg import load_model, read_volume
from uniseg.evaluation.nnunet_agreement import agreement, like_nnunet
from uniseg.images.files import read_label
from uniseg.inference.predictor import Predictor
from uniseg.inference.settings import InferenceSettings

HERE = Path(__file__).parent


def train(python: str, data: Path, output: Path) -> None:
    """nnU-Net's planner, preprocessing, trainer and validation, in its own environment."""
    done = output / "trained"
    if not done.exists():
        with (output / "nnunet.log").open("w") as log:
            words = [python, str(HERE / "train_nnunet.py"), str(data), str(output)]
            subprocess.run(words, check=True, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        done.touch()


def compare(folder: Path, images: Path) -> dict:
    """Of an imported configuration, over the validation cases of all folds."""
    record = json.loads((folder / "nnunet.json").read_text())
    settings = {
        "like nnU-Net": like_nnunet(record["mirror_axes"], record["orientation"]),
        "mirrored alone": InferenceSettings(mirror_axes=tuple(record["mirror_axes"])),
        "defaults": InferenceSettings(),
    }
    cases: dict[str, list] = {name: [] for name in settings}
    foreground = 0
    for fold in record["folds"]:
        model = load_model(folder / fold)
        (task,) = model.tasks
        classes = dict(zip(task.classes[1:], task.class_values, strict=True))
        for path in sorted(Path(record["source"], fold, "validation").glob("*.nii.gz")):
            image = [images / path.name.replace(".nii.gz", "_0000.nii.gz")]
            theirs, volume = read_label(path, image), read_volume(image)
            foreground += int((theirs > 0).sum())
            for name, how in settings.items():
                found = agreement(Predictor(model, how).predict(volume, [task.name])[task.name], theirs, classes)
                cases[name].append({"fold": fold, "case": path.name, "dice": found.dice, "voxels": found.num_different})
    means = {
        name: float(np.mean([value for case in listed for value in case["dice"].values()]))
        for name, listed in cases.items()
    }
    least = min(value for case in cases["like nnU-Net"] for value in case["dice"].values())
    return {"least_dice": least, "mean_dice": means, "foreground_voxels": foreground, "cases": cases["like nnU-Net"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnunet-python", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("outputs/nnunet_agreement"))
    options = parser.parse_args()
    output = options.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    train(options.nnunet_python, options.data.absolute(), output)
    imported = output / "imported"
    words = [f"results={output / 'results'}", f"output={imported}", f"images={output / 'raw'}"]
    words.append(f"nnunet_python={options.nnunet_python}")
    subprocess.run([sys.executable, "-m", "uniseg.import_results", *words], check=True)
    folders = sorted(path.parent for path in imported.glob("*/*/nnunet.json"))
    images = next((output / "raw").glob("*/imagesTr"))
    results = {"networks": {folder.name: compare(folder, images) for folder in folders}}
    (output / "results.json").write_text(json.dumps(results, indent=1))
    for name, each in results["networks"].items():
        sys.stdout.write(f"{name}: least Dice {each['least_dice']:.5f}, means {each['mean_dice']}\n")


if __name__ == "__main__":
    main()
