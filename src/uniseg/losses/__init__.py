"""Losses: per sample, in float32."""
