"""Races against named peers; each prints ratios, below 1 means that ours is faster."""
