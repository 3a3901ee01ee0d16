"""Adaptation of a trained network to scans of another site, without labels, with a guard that may keep the base."""
