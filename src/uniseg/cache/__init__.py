"""Once per dataset: scans -> a cache that training reads."""
