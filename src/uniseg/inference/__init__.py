"""From a scan to label maps in the scan's own grid, then to scores."""
