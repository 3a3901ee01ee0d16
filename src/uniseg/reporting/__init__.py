"""An evaluated run on one page."""
