"""The puppet world: short cartoon clips with exact captions and exact ground truth."""
