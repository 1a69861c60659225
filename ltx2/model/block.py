"""One layer of the transformer: both streams, and the attention between them."""

from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor, nn

from ltx2.model.attention import Attention, FeedForward, KeysValues, rms_norm
from ltx2.model.config import StreamConfig, TransformerConfig
from ltx2.model.modulation import Modulation, modulate
from ltx2.model.rope import RotaryTable


class PerturbedAttention(Enum):
    """An attention that guidance switches off."""

    VIDEO_SELF = "video_self"
    AUDIO_SELF = "audio_self"
    AUDIO_TO_VIDEO = "audio_to_video"
    VIDEO_TO_AUDIO = "video_to_audio"


@dataclass(frozen=True)
class Perturbation:
    """One attention switched off in some blocks; `blocks` None means in all of them."""

    attention: PerturbedAttention
    blocks: frozenset[int] | None = None


@dataclass(frozen=True)
class Perturbations:
    """What is switched off in a batch.

    A perturbed self-attention lets each token keep its own value; attention between the
    modalities that is switched off adds nothing.

    Attributes:
        per_sample: for every sample of the batch what it skips.
        drop_self_attention: a perturbed self-attention adds nothing, as in the first release.
    """

    per_sample: tuple[tuple[Perturbation, ...], ...] = ()
    drop_self_attention: bool = False

    def in_block(self, block: int) -> "Perturbations":
        """Those of one block alone."""
        per_sample = tuple(
            tuple(skip for skip in sample if skip.blocks is None or block in skip.blocks)
            for sample in self.per_sample
        )
        return replace(self, per_sample=per_sample)

    def skips(self, attention: PerturbedAttention) -> tuple[bool, ...]:
        """For every sample whether it skips `attention`, of those in one block."""
        return tuple(
            any(skipped.attention is attention for skipped in sample) for sample in self.per_sample
        )


NO_PERTURBATIONS = Perturbations()


@dataclass(frozen=True)
class Stream:
    """One modality on its way through the blocks; only `hidden` changes.

    Attributes:
        hidden: [B, T, D].
        context: projected text [B, T_c, D].
        context_mask: [B, 1, 1, T_c], True for real tokens; None if all are.
        text_answers: keys and values of the text by block, kept for later steps of the same walk;
            None keeps none.
        rope, cross_rope: for self-attention and for attention between the modalities.
        modulation: 6 values: shift, scale, gate of self-attention, then of feed-forward; where
            the noise level modulates the attention to the text, 3 more for it.
        text_modulation: 2 values, shift and scale of the text; None where it is not modulated.
        cross_modulation: 4 values: scale and shift for audio-to-video, then for
            video-to-audio; None if the other modality is absent.
        cross_gate: 1 value, gate of what this stream receives; None likewise.
        enabled: False keeps `hidden` as it is.
    """

    hidden: Tensor
    context: Tensor
    context_mask: Tensor | None
    rope: RotaryTable
    cross_rope: RotaryTable
    modulation: Modulation
    cross_modulation: Modulation | None
    cross_gate: Modulation | None
    enabled: bool
    text_answers: dict[int, KeysValues] | None = None
    text_modulation: Modulation | None = None


class TransformerBlock(nn.Module):
    """Self-attention, text attention, attention between the modalities, feed-forward."""

    def __init__(self, config: TransformerConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.eps = config.norm_eps
        self.gated = config.gated_attention
        video, audio = config.video, config.audio
        rows = 9 if config.text_modulation else 6

        self.attn1 = self._attention(video, video, heads=video)
        self.attn2 = self._attention(video, video, heads=video)
        self.ff = FeedForward(video.dim)
        self.scale_shift_table = nn.Parameter(torch.zeros(rows, video.dim))

        self.audio_attn1 = self._attention(audio, audio, heads=audio)
        self.audio_attn2 = self._attention(audio, audio, heads=audio)
        self.audio_ff = FeedForward(audio.dim)
        self.audio_scale_shift_table = nn.Parameter(torch.zeros(rows, audio.dim))

        self.prompt_scale_shift_table, self.audio_prompt_scale_shift_table = (
            nn.Parameter(torch.zeros(2, stream.dim)) if config.text_modulation else None
            for stream in (video, audio)
        )

        # Both directions attend in the audio's width.
        self.audio_to_video_attn = self._attention(video, audio, heads=audio)
        self.video_to_audio_attn = self._attention(audio, video, heads=audio)
        self.scale_shift_table_a2v_ca_video = nn.Parameter(torch.zeros(5, video.dim))
        self.scale_shift_table_a2v_ca_audio = nn.Parameter(torch.zeros(5, audio.dim))

    def forward(
        self,
        video: Stream | None,
        audio: Stream | None,
        perturbations: Perturbations = NO_PERTURBATIONS,
    ) -> tuple[Stream | None, Stream | None]:
        """Both streams after the block; an absent one stays None."""
        return self.compute(
            video,
            audio,
            self._text_answers(video, self.attn2),
            self._text_answers(audio, self.audio_attn2),
            perturbations.in_block(self.index),
        )

    def compute(
        self,
        video: Stream | None,
        audio: Stream | None,
        video_text: KeysValues | None,
        audio_text: KeysValues | None,
        perturbations: Perturbations,
    ) -> tuple[Stream | None, Stream | None]:
        """The work of `forward`, in which a block's number plays no part.

        So all blocks can share one compiled program, and nothing that is kept for later steps is
        in memory that a recorded graph writes again.

        Args:
            video, audio: the streams.
            video_text, audio_text: what the text answers them; None where noise modulates it.
            perturbations: of this block.
        """
        video_table, audio_table = self.scale_shift_table, self.audio_scale_shift_table
        if video is not None and video.enabled:
            skip = PerturbedAttention.VIDEO_SELF
            video = self._attend_self(video, self.attn1, video_table, perturbations, skip)
            video = self._attend_text(
                video, self.attn2, video_text, video_table, self.prompt_scale_shift_table
            )
        if audio is not None and audio.enabled:
            skip = PerturbedAttention.AUDIO_SELF
            audio = self._attend_self(audio, self.audio_attn1, audio_table, perturbations, skip)
            audio = self._attend_text(
                audio,
                self.audio_attn2,
                audio_text,
                audio_table,
                self.audio_prompt_scale_shift_table,
            )
        if video is not None and audio is not None:
            video, audio = self._attend_each_other(video, audio, perturbations)
        if video is not None and video.enabled:
            video = self._feed_forward(video, self.ff, video_table)
        if audio is not None and audio.enabled:
            audio = self._feed_forward(audio, self.audio_ff, audio_table)
        return video, audio

    def _attend_self(
        self,
        stream: Stream,
        attention: Attention,
        table: Tensor,
        perturbations: Perturbations,
        skip: PerturbedAttention,
    ) -> Stream:
        shift, scale, gate = stream.modulation.with_table(table[:3])
        x = modulate(rms_norm(stream.hidden, self.eps), scale, shift)
        skips = perturbations.skips(skip)
        if not any(skips):
            gathered = attention(x, rope=stream.rope, context_rope=stream.rope)
        else:
            drop = perturbations.drop_self_attention
            gathered = torch.zeros_like(x) if drop else attention.own_values(x)
            if not all(skips):
                usual = attention(x, rope=stream.rope, context_rope=stream.rope)
                gathered = torch.where(_per_sample(skips, x), gathered, usual)
        return replace(stream, hidden=torch.addcmul(stream.hidden, gathered, gate))

    def _text_answers(self, stream: Stream | None, attention: Attention) -> KeysValues | None:
        """Keys and values of the text, kept if the stream keeps them; None if they change."""
        if stream is None or not stream.enabled or stream.text_modulation is not None:
            return None
        kept = stream.text_answers
        answers = None if kept is None else kept.get(self.index)
        if answers is None:
            answers = attention.keys_values(stream.context)
            if kept is not None:
                kept[self.index] = answers
        return answers

    def _attend_text(
        self,
        stream: Stream,
        attention: Attention,
        answers: KeysValues | None,
        table: Tensor,
        text_table: Tensor | None,
    ) -> Stream:
        x = rms_norm(stream.hidden, self.eps)
        if text_table is not None and stream.text_modulation is not None:
            # Keys and values follow the noise level, so that there is nothing to keep of them.
            shift, scale, gate = stream.modulation.with_table(table[6:], start=6)
            text_shift, text_scale = stream.text_modulation.with_table(text_table)
            context = modulate(stream.context, text_scale, text_shift)
            x = modulate(x, scale, shift)
            gathered = attention(x, context, mask=stream.context_mask)
            return replace(stream, hidden=torch.addcmul(stream.hidden, gathered, gate))
        assert answers is not None
        gathered = attention.gather(x, answers, mask=stream.context_mask)
        return replace(stream, hidden=stream.hidden + gathered)

    def _attend_each_other(
        self, video: Stream, audio: Stream, perturbations: Perturbations
    ) -> tuple[Stream, Stream]:
        """Both directions read the streams as they were before either is updated."""
        video_scales, video_gate = _cross_values(video, self.scale_shift_table_a2v_ca_video)
        audio_scales, audio_gate = _cross_values(audio, self.scale_shift_table_a2v_ca_audio)
        video_normed = rms_norm(video.hidden, self.eps)
        audio_normed = rms_norm(audio.hidden, self.eps)

        skips = perturbations.skips(PerturbedAttention.AUDIO_TO_VIDEO)
        if video.enabled and not (skips and all(skips)):
            gathered = self.audio_to_video_attn(
                modulate(video_normed, *video_scales[:2]),
                modulate(audio_normed, *audio_scales[:2]),
                rope=video.cross_rope,
                context_rope=audio.cross_rope,
            )
            video = replace(video, hidden=_add(video.hidden, gathered, video_gate, skips))

        skips = perturbations.skips(PerturbedAttention.VIDEO_TO_AUDIO)
        if audio.enabled and not (skips and all(skips)):
            gathered = self.video_to_audio_attn(
                modulate(audio_normed, *audio_scales[2:]),
                modulate(video_normed, *video_scales[2:]),
                rope=audio.cross_rope,
                context_rope=video.cross_rope,
            )
            audio = replace(audio, hidden=_add(audio.hidden, gathered, audio_gate, skips))
        return video, audio

    def _feed_forward(self, stream: Stream, network: FeedForward, table: Tensor) -> Stream:
        shift, scale, gate = stream.modulation.with_table(table[3:6], start=3)
        x = modulate(rms_norm(stream.hidden, self.eps), scale, shift)
        return replace(stream, hidden=torch.addcmul(stream.hidden, network(x), gate))

    def _attention(
        self, query: StreamConfig, context: StreamConfig, heads: StreamConfig
    ) -> Attention:
        return Attention(
            query.dim,
            context.dim,
            num_heads=heads.num_heads,
            head_dim=heads.head_dim,
            eps=self.eps,
            gated=self.gated,
        )


def _cross_values(stream: Stream, table: Tensor) -> tuple[list[Tensor], Tensor]:
    """The four scales and shifts of a stream, and its gate."""
    if stream.cross_modulation is None or stream.cross_gate is None:
        raise ValueError("a stream that meets the other one needs cross modulation")
    (gate,) = stream.cross_gate.with_table(table[4:])
    return stream.cross_modulation.with_table(table[:4]), gate


def _add(hidden: Tensor, gathered: Tensor, gate: Tensor, skips: tuple[bool, ...]) -> Tensor:
    """`hidden` plus gated `gathered`, which samples that skip do not receive."""
    if any(skips):
        gathered = gathered.masked_fill(_per_sample(skips, gathered), 0.0)
    return torch.addcmul(hidden, gathered, gate)


def _per_sample(flags: tuple[bool, ...], like: Tensor) -> Tensor:
    return torch.tensor(flags, device=like.device).view(-1, 1, 1)
