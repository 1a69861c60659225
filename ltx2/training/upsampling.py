"""Training of the latent upsampler on latents of large pictures and of small ones."""

from collections.abc import Callable

import torch
from torch import Tensor

from ltx2.model.upsampler import LatentUpsampler
from ltx2.training.loop import Step
from ltx2.training.mixed_precision import autocast_volumes


def upsampler_step(
    upsampler: LatentUpsampler,
    pairs: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    *,
    std: Tensor,
) -> Step:
    """One step of upsampler training.

    Args:
        upsampler: works on latents in the autoencoder's own range.
        pairs: draws latents of small pictures [B, C, f, h, w] and of the same pictures with
            twice the height and width [B, C, f, 2h, 2w], both in the autoencoder's own range.
        std: of each latent channel [C]; the loss counts all channels alike.
    """
    scale = std[:, None, None, None]

    def step(_: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        small, large = pairs(generator)
        with autocast_volumes():
            made = upsampler(small)
        error = (made.float() - large) / scale
        mse = error.square().mean()
        return error.abs().mean() + mse, {"mse": float(mse.detach())}

    return step
