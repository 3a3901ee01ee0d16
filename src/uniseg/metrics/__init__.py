"""Scores of a segmentation against a reference."""
