"""Augmentation: drawn with the request, applied on the device."""
