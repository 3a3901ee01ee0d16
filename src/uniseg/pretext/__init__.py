"""Objectives of pretext tasks: what a network learns from scans without labels."""
