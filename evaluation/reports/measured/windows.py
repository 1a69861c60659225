"""What an offset between sound and picture means to people: the windows of ITU-R BT.1359-1."""

DETECTABLE_MS = (-125.0, 45.0)
"""Sound late and early (positive) that people begin to notice."""

ACCEPTABLE_MS = (-185.0, 90.0)
"""Beyond these it is not accepted."""

SIGN = "Positive: the sound comes before the picture."


def is_in_step(offset_ms: float) -> bool:
    """Whether people do not notice the offset."""
    return DETECTABLE_MS[0] <= offset_ms <= DETECTABLE_MS[1]


def is_acceptable(offset_ms: float) -> bool:
    """Whether people accept it."""
    return ACCEPTABLE_MS[0] <= offset_ms <= ACCEPTABLE_MS[1]
