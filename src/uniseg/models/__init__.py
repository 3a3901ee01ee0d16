"""Networks: PyTorch, MONAI's blocks, the task set."""
