"""Small tensors on a device."""

import numpy as np
import torch

from uniseg.device_copy import to_device


def test_numbers_arrays_and_tensors_keep_their_values():
    assert to_device([[1, 2], [3, 4]], "cpu").tolist() == [[1, 2], [3, 4]]
    assert to_device(np.arange(3), "cpu", torch.float32).dtype == torch.float32
    tensor = torch.arange(3)
    assert to_device(tensor, torch.device("cpu")) is tensor
