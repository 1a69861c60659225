"""One step of the walk from noise to clean latents.

A noisy token is (1 - sigma) * clean + sigma * noise, and a velocity is noise - clean.
"""

from torch import Tensor


def to_denoised(tokens: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
    """Clean estimate [B, T, C], float32, of noisy tokens.

    Args:
        tokens: [B, T, C].
        velocity: the network's output, like `tokens`.
        timesteps: noise level of each token [B, T].
    """
    return tokens.float() - timesteps.unsqueeze(-1) * velocity.float()


def euler_step(tokens: Tensor, denoised: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """Tokens [B, T, C] at `next_sigma`, on the straight line from here to the estimate."""
    velocity = (tokens - denoised) / sigma
    return tokens + velocity * (next_sigma - sigma)
