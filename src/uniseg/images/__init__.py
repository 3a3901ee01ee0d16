"""An image in memory and in its files."""
