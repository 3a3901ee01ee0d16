"""How class logits leave the network, one way per file, behind one contract (``base.py``)."""
