"""Backbones behind one contract (``base.py``), one per file."""
