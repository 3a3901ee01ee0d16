"""Backbones on one contract (``base.py``), one per file."""
