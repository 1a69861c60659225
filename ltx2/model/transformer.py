"""The LTX-2 transformer: noisy video and audio tokens in, their velocities out."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltx2.model.attention import KeysValues
from ltx2.model.block import NO_PERTURBATIONS, Perturbations, Stream, TransformerBlock
from ltx2.model.config import CrossTimestep, RopeConfig, StreamConfig, TransformerConfig
from ltx2.model.linear import Linear
from ltx2.model.modulation import MLP, AdaLayerNormSingle, Modulation, Timesteps, modulate
from ltx2.model.rope import RotaryTable, interval_centres, rotary_table


@dataclass
class Unchanging:
    """What of one modality stays the same in all steps of a walk, once it has been computed.

    Positions and text must not change while it is used.

    Attributes:
        keeps_answers: whether keys and values of the text are kept for every block, which takes
            as much memory as a few blocks' activations.
        text_answers: those kept so far, by block.
        context: projected text.
        rope, cross_rope: rotations of the tokens.
    """

    keeps_answers: bool = True
    text_answers: dict[int, KeysValues] = field(default_factory=dict)
    context: Tensor | None = None
    rope: RotaryTable | None = None
    cross_rope: RotaryTable | None = None


@dataclass(frozen=True)
class ModalityInput:
    """One modality's part of a batch.

    Attributes:
        tokens: noisy latents [B, T, C].
        timesteps: noise level of each token, sigma times its denoise mask, 0..1 [B, T].
        sigma: noise level of the modality [B].
        positions: extents [B or 1, axes, T, 2], start and end of each token; video has
            seconds, pixels down, pixels right; audio has seconds.
        context: text from the connector [B, T_c, D_c].
        context_mask: [B, T_c], 1 for real tokens; None if all are.
        enabled: False keeps the tokens as they are; the other modality still sees them.
        unchanging: of the walk that this is a step of; filled in the first step.
    """

    tokens: Tensor
    timesteps: Tensor
    sigma: Tensor
    positions: Tensor
    context: Tensor
    context_mask: Tensor | None = None
    enabled: bool = True
    unchanging: Unchanging | None = None


class Transformer(nn.Module):
    """Two streams of tokens that attend to themselves, to the text and to each other.

    Parameter names are those of the released checkpoints.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        video, audio = config.video, config.audio
        num_values = 9 if config.text_modulation else 6

        self.patchify_proj = Linear(video.in_channels, video.dim)
        self.adaln_single = AdaLayerNormSingle(video.dim, num_values)
        self.prompt_adaln_single = _prompt_adaln(config, video)
        self.caption_projection = _caption_projection(config, video)
        self.av_ca_video_scale_shift_adaln_single = AdaLayerNormSingle(video.dim, 4)
        self.av_ca_a2v_gate_adaln_single = AdaLayerNormSingle(video.dim, 1)
        self.scale_shift_table = nn.Parameter(torch.zeros(2, video.dim))
        self.proj_out = Linear(video.dim, video.out_channels)

        self.audio_patchify_proj = Linear(audio.in_channels, audio.dim)
        self.audio_adaln_single = AdaLayerNormSingle(audio.dim, num_values)
        self.audio_prompt_adaln_single = _prompt_adaln(config, audio)
        self.audio_caption_projection = _caption_projection(config, audio)
        self.av_ca_audio_scale_shift_adaln_single = AdaLayerNormSingle(audio.dim, 4)
        self.av_ca_v2a_gate_adaln_single = AdaLayerNormSingle(audio.dim, 1)
        self.audio_scale_shift_table = nn.Parameter(torch.zeros(2, audio.dim))
        self.audio_proj_out = Linear(audio.dim, audio.out_channels)

        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(config, index) for index in range(config.num_layers)
        )

    @property
    def dtype(self) -> torch.dtype:
        """Type that tokens and text are brought to."""
        return self.patchify_proj.weight.dtype

    def forward(
        self,
        video: ModalityInput | None,
        audio: ModalityInput | None,
        perturbations: Perturbations = NO_PERTURBATIONS,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocities (noise minus clean) of video and audio, each [B, T, C] or None if absent."""
        video_stream, audio_stream = None, None
        if video is not None:
            video_stream = self._video_stream(video, audio)
            video_stream = self._text_modulated(video_stream, video, self.prompt_adaln_single)
        if audio is not None:
            audio_stream = self._audio_stream(audio, video)
            audio_stream = self._text_modulated(audio_stream, audio, self.audio_prompt_adaln_single)
        for block in self.transformer_blocks:
            video_stream, audio_stream = block(video_stream, audio_stream, perturbations)
        return (
            self._velocity(video_stream, self.scale_shift_table, self.proj_out),
            self._velocity(audio_stream, self.audio_scale_shift_table, self.audio_proj_out),
        )

    def _video_stream(self, video: ModalityInput, audio: ModalityInput | None) -> Stream:
        return self._stream(
            video,
            audio,
            self.config.rope(self.config.video),
            patchify=self.patchify_proj,
            caption=self.caption_projection,
            adaln=self.adaln_single,
            cross_adaln=self.av_ca_video_scale_shift_adaln_single,
            gate_adaln=self.av_ca_a2v_gate_adaln_single,
        )

    def _audio_stream(self, audio: ModalityInput, video: ModalityInput | None) -> Stream:
        return self._stream(
            audio,
            video,
            self.config.rope(self.config.audio),
            patchify=self.audio_patchify_proj,
            caption=self.audio_caption_projection,
            adaln=self.audio_adaln_single,
            cross_adaln=self.av_ca_audio_scale_shift_adaln_single,
            gate_adaln=self.av_ca_v2a_gate_adaln_single,
        )

    def _stream(
        self,
        own: ModalityInput,
        other: ModalityInput | None,
        rope: RopeConfig,
        *,
        patchify: nn.Linear,
        caption: MLP | None,
        adaln: AdaLayerNormSingle,
        cross_adaln: AdaLayerNormSingle,
        gate_adaln: AdaLayerNormSingle,
    ) -> Stream:
        hidden = patchify(own.tokens.to(self.dtype))
        timesteps = Timesteps.of(own.timesteps)
        scale = self.config.timestep_scale
        cross: Modulation | None = None
        gate: Modulation | None = None
        if other is not None:
            cross_timesteps, gate_timesteps = self._cross_timesteps(timesteps, other)
            gate_scale = self.config.cross_gate_timestep_scale
            cross = cross_adaln(cross_timesteps, scale=scale, dtype=hidden.dtype)
            gate = gate_adaln(gate_timesteps, scale=gate_scale, dtype=hidden.dtype)
        mask = own.context_mask
        kept = Unchanging(keeps_answers=False) if own.unchanging is None else own.unchanging
        if kept.context is None or kept.rope is None or kept.cross_rope is None:
            centres = interval_centres(own.positions)
            context = own.context.to(self.dtype)
            kept.context = context if caption is None else caption(context)
            kept.rope = rotary_table(centres, rope)
            kept.cross_rope = rotary_table(centres[..., :1], self.config.cross_rope)
        return Stream(
            hidden=hidden,
            context=kept.context,
            context_mask=None if mask is None else mask.bool()[:, None, None],
            rope=kept.rope,
            cross_rope=kept.cross_rope,
            text_answers=kept.text_answers if kept.keeps_answers else None,
            modulation=adaln(timesteps, scale=scale, dtype=hidden.dtype),
            cross_modulation=cross,
            cross_gate=gate,
            enabled=own.enabled,
        )

    def _text_modulated(
        self, stream: Stream, own: ModalityInput, adaln: AdaLayerNormSingle | None
    ) -> Stream:
        if adaln is None:
            return stream
        sigma, scale = Timesteps(own.sigma, None), self.config.timestep_scale
        return replace(stream, text_modulation=adaln(sigma, scale=scale, dtype=stream.hidden.dtype))

    def _cross_timesteps(self, own: Timesteps, other: ModalityInput) -> tuple[Timesteps, Timesteps]:
        """What drives scale and shift, and what drives the gate, between the modalities."""
        choice = self.config.cross_timestep
        if choice is CrossTimestep.OWN:
            return own, own
        others = Timesteps(other.sigma, None)
        return (others if choice is CrossTimestep.OTHER else own), others

    def _velocity(self, stream: Stream | None, table: Tensor, head: nn.Linear) -> Tensor | None:
        if stream is None:
            return None
        shift, scale = stream.modulation.output_shift_scale(table)
        normed = F.layer_norm(stream.hidden, stream.hidden.shape[-1:], eps=self.config.norm_eps)
        return head(modulate(normed, scale, shift))


def _caption_projection(config: TransformerConfig, stream: StreamConfig) -> MLP | None:
    if config.caption_channels is None:
        return None
    return MLP(config.caption_channels, stream.dim, nn.GELU(approximate="tanh"))


def _prompt_adaln(config: TransformerConfig, stream: StreamConfig) -> AdaLayerNormSingle | None:
    return AdaLayerNormSingle(stream.dim, 2) if config.text_modulation else None
