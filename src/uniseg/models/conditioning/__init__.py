"""Where the task enters the network, one way per file, behind one contract (``base.py``)."""
