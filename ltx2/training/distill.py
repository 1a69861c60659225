"""Distillation: a transformer learns to make in one step what its teacher makes in several.

The student's noise levels cut the way from noise to clean latents into segments. The teacher, with
its guidance, walks one segment in smaller steps; the student learns the straight line from the
segment's start to where the teacher arrives. After it, one step per segment without guidance does
the work of many with it. (Progressive distillation, Salimans and Ho 2022, in one round, with
guidance folded in as by Meng et al. 2023.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ltx2.diffusion.guidance import Pass
from ltx2.diffusion.state import (
    Joint,
    LatentState,
    audio_positions,
    patchify_audio,
    patchify_video,
    video_positions,
)
from ltx2.generation.sampling import sample
from ltx2.geometry import VideoCompression
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.request import Guidance
from ltx2.training.flow import FlowLoss, motion_weights

NO_GUIDANCE = Joint(Guidance(), Guidance())


@dataclass(frozen=True)
class Distillation:
    """Who teaches whom, and how.

    Attributes:
        student: what is trained.
        teacher: frozen.
        compression: pixels per latent voxel.
        frame_rate: pictures per second.
        sigmas: the student's noise levels, from 1 down to 0.
        guidance: the teacher's scales of both modalities; rescaling takes the spread over the
            batch, which at generation is one clip.
        substeps: steps of the teacher in each segment.
        own_start_share: how often the student starts where it came to by itself in the segment
            before, rather than at latents with noise; 0..1. At generation it always does.
    """

    student: Transformer
    teacher: Transformer
    compression: VideoCompression
    frame_rate: float
    sigmas: Sequence[float]
    guidance: Joint[Guidance]
    substeps: int = 2
    own_start_share: float = 0.3

    def loss(
        self,
        latents: Joint[Tensor],
        student_contexts: Joint[Tensor],
        teacher_contexts: Mapping[Pass, Joint[Tensor]],
        generator: torch.Generator,
    ) -> FlowLoss:
        """Loss of one batch of normalised latents over one segment, drawn at random.

        Args:
            latents: video [B, C, f, h, w] and audio [B, c, l, m].
            student_contexts: connector outputs [B, T_c, D] for the prompts.
            teacher_contexts: the same of the teacher, for the prompts and the negative prompts.
            generator: of segment and noise.
        """
        segment = int(torch.randint(len(self.sigmas) - 1, (), generator=generator))
        starts_by_itself = float(torch.rand((), generator=generator)) < self.own_start_share
        start = max(0, segment - 1) if starts_by_itself else segment
        clean = _clean_states(latents, self.compression, self.frame_rate)
        noisy = Joint(*(_noised(state, self.sigmas[start], generator) for state in clean))
        here, there = self.sigmas[segment], self.sigmas[segment + 1]
        with torch.no_grad():
            if start < segment:
                way = self.sigmas[start : segment + 1]
                own = {Pass.CONDITIONAL: student_contexts}
                noisy = sample(self.student, noisy, way, contexts=own, guidance=NO_GUIDANCE)
            way = torch.linspace(here, there, self.substeps + 1).tolist()
            arrived = sample(
                self.teacher, noisy, way, contexts=teacher_contexts, guidance=self.guidance
            )
        inputs = [
            ModalityInput(
                tokens=state.tokens,
                timesteps=state.timesteps(here),
                sigma=torch.full_like(state.tokens[:, 0, 0], here),
                positions=state.positions,
                context=context,
            )
            for state, context in zip(noisy, student_contexts, strict=True)
        ]
        errors = [
            (velocity.float() - (begin.tokens - end.tokens) / (here - there)).square()
            for velocity, begin, end in zip(self.student(*inputs), noisy, arrived, strict=True)
        ]
        video_error, audio_error = errors
        weighted = (video_error * motion_weights(latents.video)).mean() + audio_error.mean()
        return FlowLoss(weighted, video_error.mean().detach(), audio_error.mean().detach())


def _clean_states(
    latents: Joint[Tensor], compression: VideoCompression, frame_rate: float
) -> Joint[LatentState]:
    video, audio = latents
    grid = (video.shape[2], video.shape[3], video.shape[4])
    return Joint(
        LatentState.to_generate(
            patchify_video(video), video_positions(grid, compression, frame_rate)
        ),
        LatentState.to_generate(patchify_audio(audio), audio_positions(audio.shape[2])),
    )


def _noised(state: LatentState, sigma: float, generator: torch.Generator) -> LatentState:
    noise = torch.randn(state.clean.shape, generator=generator)
    return replace(state, tokens=(1 - sigma) * state.clean + sigma * noise)
