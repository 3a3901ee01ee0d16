"""Labels that networks write for structures that a dataset does not label: judged, then listed as a task."""
