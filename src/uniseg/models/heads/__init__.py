"""How class logits leave the network, one way per file, on one contract (``base.py``)."""
