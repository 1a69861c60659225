"""Blind side-by-side rating: from clips to votes, and from votes to a ranking with intervals."""
