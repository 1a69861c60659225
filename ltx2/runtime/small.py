"""What is small enough to be computed in float32 and kept in memory whole; needs no PyTorch."""

SMALL_MODEL_PARAMETERS = 1_000_000_000
"""Below this a model is computed in float32: it fits anywhere, and CPUs are fastest with it. It
keeps its text encoder in memory as well."""


def usual_dtype(num_parameters: int) -> str:
    """The number type of a model that nobody chose one for."""
    return "float32" if num_parameters < SMALL_MODEL_PARAMETERS else "bfloat16"
