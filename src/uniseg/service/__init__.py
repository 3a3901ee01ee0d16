"""A network over HTTP: scans in, label maps out, one at a time."""
