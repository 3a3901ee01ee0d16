"""Which files make a case, and which split it is in."""
