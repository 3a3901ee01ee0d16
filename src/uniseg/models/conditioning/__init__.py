"""Where the task enters the network, one way per file, on one contract (``base.py``)."""
