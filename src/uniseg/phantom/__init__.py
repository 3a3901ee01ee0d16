"""The embedded suite of scans, drawn instead of acquired."""
