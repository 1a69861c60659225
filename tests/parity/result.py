"""What a parity case reports: one tensor of ours against the recorded one."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Result:
    """One compared tensor.

    Attributes:
        component: folder of the case, for example `transformer`.
        case: name of the case inside the component.
        tensor: name of the output that was compared.
        max_error: largest absolute difference; infinite where the shapes differ or one is not
            finite.
        tolerance: absolute difference that is allowed where the expected value is zero.
        passed: whether every element is within `atol + rtol * abs(expected)`.
    """

    component: str
    case: str
    tensor: str
    max_error: float
    tolerance: float
    passed: bool


def compare(
    component: str,
    case: str,
    name: str,
    actual: Tensor,
    expected: Tensor,
    *,
    atol: float = 1e-4,
    rtol: float = 1e-4,
) -> Result:
    """Compare in float64; a wrong shape or a value that is not finite fails."""
    if actual.shape != expected.shape:
        return Result(component, case, name, float("inf"), atol, passed=False)
    wanted = expected.detach().double()
    error = (actual.detach().double() - wanted).abs()
    largest = float(error.max()) if error.numel() else 0.0
    if largest != largest:  # NaN
        largest = float("inf")
    passed = bool((error <= atol + rtol * wanted.abs()).all())
    return Result(component, case, name, largest, atol, passed=passed)
