"""uniseg: one 3D network for many segmentation tasks."""
