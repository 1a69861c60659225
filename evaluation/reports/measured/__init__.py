"""Reports on runs of suites: what was measured of whose clips, from the records alone."""
