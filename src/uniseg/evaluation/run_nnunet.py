"""nnU-Net's own predictions of one case, fold by fold: a script for the interpreter that has nnunetv2, without uniseg.

python run_nnunet.py job.json
"""

import json
import sys
from pathlib import Path


def main() -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    job = json.loads(Path(sys.argv[1]).read_text())
    for fold, checkpoint in job["folds"].items():
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(job["folder"], (fold.removeprefix("fold_"),), checkpoint)
        predictor.predict_from_files_sequential([job["images"]], [str(Path(job["output"], fold))])


if __name__ == "__main__":
    main()
