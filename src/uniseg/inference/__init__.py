"""A scan -> label maps in its grid: windows, tasks, postprocessing, files."""
