"""Voxels -> what the network sees, for the cache and at prediction."""
