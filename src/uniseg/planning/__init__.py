"""One plan for a set of tasks and a GPU."""
