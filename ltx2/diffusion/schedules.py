"""Noise levels to walk through, from 1 (pure noise) to 0 (clean)."""

import torch
from torch import Tensor

TERMINAL = 0.1
"""Smallest noise level above zero; schedules are stretched to reach it."""

# The released schedule's shift is linear in the number of video tokens, through these points.
_SHIFT_AT_1024 = 0.95
_SHIFT_AT_4096 = 2.05

OFFICIAL_SHIFT = _SHIFT_AT_4096
"""What the released pipelines use at every size: they leave the token count at 4,096."""

DISTILLED_STAGE_2_SIGMAS = (0.909375, 0.725, 0.421875, 0.0)
"""Noise levels that refine an upsampled result."""


def shift_for_tokens(num_tokens: int) -> float:
    """Shift for a number of video tokens: more tokens need more time at high noise."""
    slope = (_SHIFT_AT_4096 - _SHIFT_AT_1024) / (4096 - 1024)
    return _SHIFT_AT_1024 + slope * (num_tokens - 1024)


def shifted_sigmas(
    num_steps: int, *, shift: float = OFFICIAL_SHIFT, terminal: float | None = TERMINAL
) -> Tensor:
    """Noise levels [num_steps + 1], float32.

    Args:
        num_steps: at least 1.
        shift: 0 spaces them evenly, more puts more of them at high noise.
        terminal: the last level above zero; None leaves the levels unstretched.
    """
    # In float64, because the stretch divides by a small difference.
    even = torch.linspace(1.0, 0.0, num_steps + 1, dtype=torch.float64)[:-1]
    growth = torch.tensor(shift, dtype=torch.float64).exp()
    sigmas = growth / (growth + 1.0 / even - 1.0)
    if terminal is not None and num_steps > 1:
        sigmas = 1.0 - (1.0 - sigmas) * (1.0 - terminal) / (1.0 - sigmas[-1])
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)]).float()
