"""Architecture of the transformer, the connectors and the upsamplers, read from metadata.

The defaults are the published 19B model; LTX-2.3 is what its metadata say. What a checkpoint's
metadata leaves out takes these values; what it says about something this code does not implement
is an error, never ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, Literal

from ltx2.errors import CheckpointError
from ltx2.geometry import Enlarging

Modality = Literal["video", "audio"]


class CrossTimestep(Enum):
    """Which noise level modulates the attention between picture and sound.

    The published code changed twice; the three agree where all tokens share one noise level.
    """

    OWN = "own"
    """Scale, shift and gate follow the token's own timestep (first release)."""
    GATE_FROM_OTHER = "gate_from_other"
    """Scale and shift follow the token's own timestep, the gate the other modality's sigma."""
    OTHER = "other"
    """Scale, shift and gate follow the other modality's sigma."""


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding of one kind of attention.

    Attributes:
        dim: width that is rotated, all heads together.
        num_heads: heads that share `dim`.
        max_positions: position per axis that maps to the end of the trained range.
        theta: base of the frequencies.
    """

    dim: int
    num_heads: int
    max_positions: tuple[float, ...]
    theta: float = 10000.0


@dataclass(frozen=True)
class StreamConfig:
    """One modality's stream through the transformer.

    Attributes:
        in_channels, out_channels: features of a token before and after the transformer.
        num_heads, head_dim: their product is the stream's width.
        max_positions: time in seconds and, for video, height and width in pixels.
    """

    in_channels: int
    out_channels: int
    num_heads: int
    head_dim: int
    max_positions: tuple[float, ...]

    @property
    def dim(self) -> int:
        """Width of the stream."""
        return self.num_heads * self.head_dim


@dataclass(frozen=True)
class TransformerConfig:
    """The dual-stream transformer.

    Attributes:
        caption_channels: features of the text that the connectors hand over; None where they
            hand it over in the width of each stream (LTX-2.3).
        gated_attention: every head of every attention has a gate of its own (LTX-2.3).
        text_modulation: the attention to the text and the text itself follow the noise level
            (LTX-2.3).
        timestep_scale: factor from sigma (0..1) to the embedded timestep.
        cross_gate_timestep_scale: the same for the gates between the modalities.
        norm_eps: epsilon of every normalisation.
    """

    num_layers: int = 48
    video: StreamConfig = field(
        default_factory=lambda: StreamConfig(128, 128, 32, 128, (20.0, 2048.0, 2048.0))
    )
    audio: StreamConfig = field(default_factory=lambda: StreamConfig(128, 128, 32, 64, (20.0,)))
    caption_channels: int | None = 3840
    gated_attention: bool = False
    text_modulation: bool = False
    timestep_scale: float = 1000.0
    cross_gate_timestep_scale: float = 1000.0
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    cross_timestep: CrossTimestep = CrossTimestep.GATE_FROM_OTHER

    def rope(self, stream: StreamConfig) -> RopeConfig:
        """Positions in the self-attention of `stream`."""
        return RopeConfig(stream.dim, stream.num_heads, stream.max_positions, self.rope_theta)

    def context_channels(self, stream: StreamConfig) -> int:
        """Features of the text that the connector of `stream` hands over."""
        return stream.dim if self.caption_channels is None else self.caption_channels

    @property
    def cross_rope(self) -> RopeConfig:
        """Positions in the attention between the streams: time only, in the audio's width."""
        latest = max(self.video.max_positions[0], self.audio.max_positions[0])
        return RopeConfig(self.audio.dim, self.audio.num_heads, (latest,), self.rope_theta)

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> "TransformerConfig":
        """Architecture stated by the section `transformer` of a checkpoint's configuration.

        Raises:
            CheckpointError: the section is missing or asks for something not implemented.
        """
        section = _section(config, "transformer")
        _require_supported(section, _TRANSFORMER_SUPPORTED)
        default = cls()
        get = section.get
        projects_text = not get("caption_proj_before_connector", False)
        result = cls(
            num_layers=get("num_layers", default.num_layers),
            video=StreamConfig(
                in_channels=get("in_channels", 128),
                out_channels=get("out_channels", 128),
                num_heads=get("num_attention_heads", 32),
                head_dim=get("attention_head_dim", 128),
                max_positions=_floats(get("positional_embedding_max_pos", [20, 2048, 2048])),
            ),
            audio=StreamConfig(
                in_channels=get("audio_in_channels", 128),
                out_channels=get("audio_out_channels", 128),
                num_heads=get("audio_num_attention_heads", 32),
                head_dim=get("audio_attention_head_dim", 64),
                max_positions=_floats(get("audio_positional_embedding_max_pos", [20])),
            ),
            caption_channels=get("caption_channels", 3840) if projects_text else None,
            gated_attention=_switch(section, "apply_gated_attention"),
            text_modulation=_switch(section, "cross_attention_adaln"),
            timestep_scale=float(get("timestep_scale_multiplier", default.timestep_scale)),
            cross_gate_timestep_scale=float(
                get("av_ca_timestep_scale_multiplier", default.cross_gate_timestep_scale)
            ),
            rope_theta=float(get("positional_embedding_theta", default.rope_theta)),
            norm_eps=float(get("norm_eps", default.norm_eps)),
        )
        # Text reaches the attention in the stream's own width, through the caption projection.
        for key, stream in (
            ("cross_attention_dim", result.video),
            ("audio_cross_attention_dim", result.audio),
        ):
            _require_supported(section, {key: stream.dim})
        return result


@dataclass(frozen=True)
class ConnectorConfig:
    """The small transformer between the text features and one modality.

    Attributes:
        num_registers: learned vectors that replace padding; tokens come in multiples of it.
        max_positions: position that maps to the end of the trained range.
        gated_attention: every head has a gate of its own (LTX-2.3).
    """

    num_layers: int = 2
    num_heads: int = 30
    head_dim: int = 128
    num_registers: int = 128
    max_positions: float = 4096.0
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    gated_attention: bool = False

    @property
    def dim(self) -> int:
        """Width of the connector, equal to the width of the text features."""
        return self.num_heads * self.head_dim

    @property
    def rope(self) -> RopeConfig:
        """Positions in the connector's attention: the index of the token."""
        return RopeConfig(self.dim, self.num_heads, (self.max_positions,), self.rope_theta)

    @classmethod
    def from_metadata(
        cls, config: Mapping[str, Any], *, modality: Modality = "video"
    ) -> "ConnectorConfig":
        """Architecture of a modality's connector, stated by the section `transformer`.

        Raises:
            CheckpointError: the section is missing or asks for something not implemented.
        """
        section = _section(config, "transformer")
        _require_supported(section, _CONNECTOR_SUPPORTED)
        default = cls()
        get = section.get
        max_positions = _floats(get("connector_positional_embedding_max_pos", [4096]))
        num_heads = get("connector_num_attention_heads", default.num_heads)
        head_dim = get("connector_attention_head_dim", default.head_dim)
        if modality == "audio":  # of the same size where nothing is said
            num_heads = get("audio_connector_num_attention_heads", num_heads)
            head_dim = get("audio_connector_attention_head_dim", head_dim)
        return cls(
            num_layers=get("connector_num_layers", default.num_layers),
            num_heads=num_heads,
            head_dim=head_dim,
            num_registers=get("connector_num_learnable_registers", default.num_registers),
            max_positions=max_positions[0],
            rope_theta=float(get("positional_embedding_theta", default.rope_theta)),
            norm_eps=float(get("norm_eps", default.norm_eps)),
            gated_attention=_switch(section, "connector_apply_gated_attention"),
        )


@dataclass(frozen=True)
class FeatureProjectionConfig:
    """The projection of all hidden states of the text encoder to one vector per token.

    Attributes:
        hidden_size: width of the text encoder.
        num_states: hidden states per token, the embedding included.
        dim: features per token after the projection, for the video.
        audio_dim: the same for the audio, where it has a projection of its own (LTX-2.3); None
            where both share one.
    """

    hidden_size: int = 3840
    num_states: int = 49
    dim: int = 3840
    audio_dim: int | None = None

    @classmethod
    def from_metadata(
        cls, config: Mapping[str, Any], *, num_states: int = 49
    ) -> "FeatureProjectionConfig":
        """Architecture stated by the section `transformer` and the text encoder's depth.

        Args:
            config: all sections of the checkpoint's configuration.
            num_states: layers of the text encoder plus one; the metadata does not say it.

        Raises:
            CheckpointError: the section is missing or asks for something not implemented.
        """
        section = _section(config, "transformer")
        width = section.get("caption_channels", 3840)
        if not section.get("caption_proj_before_connector", False):
            _require_supported(section, {"text_encoder_norm_type": None})
            return cls(hidden_size=width, num_states=num_states, dim=width)
        _require_supported(section, _OWN_PROJECTIONS_SUPPORTED)
        return cls(
            hidden_size=width,
            num_states=num_states,
            dim=ConnectorConfig.from_metadata(config, modality="video").dim,
            audio_dim=ConnectorConfig.from_metadata(config, modality="audio").dim,
        )


@dataclass(frozen=True)
class UpsamplerConfig:
    """A latent upsampler, spatial or temporal.

    Attributes:
        num_blocks: residual blocks before and again after the upsampling.
        temporal: doubles the frames (F to 2F - 1) instead of enlarging height and width.
        rational: the spatial layout of the published 19B and x1.5 files, which enlarges by the
            scale's numerator and reduces by its denominator; at a scale of two only its parameter
            names differ.
        scale: of height and width in the rational layout; 2 in the other one.
    """

    in_channels: int = 128
    mid_channels: int = 1024
    num_blocks: int = 4
    temporal: bool = False
    rational: bool = True
    scale: Fraction = Fraction(2)

    @property
    def enlarging(self) -> Enlarging:
        """What it does to a clip."""
        if self.temporal:
            return "time"
        return "space" if self.scale == 2 else "space-1.5"

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> "UpsamplerConfig":
        """Architecture stated by an upsampler file, whose `config` has no sections.

        Raises:
            CheckpointError: the file asks for something not implemented.
        """
        spatial = config.get("spatial_upsample", True)
        temporal = config.get("temporal_upsample", False)
        if spatial == temporal:
            raise CheckpointError(
                f"The upsampler declares spatial_upsample={spatial} and "
                f"temporal_upsample={temporal}; exactly one of them is supported.",
                next_step=_UPSAMPLERS,
            )
        _require_supported(config, {"dims": 3})
        default = cls()
        rational = bool(spatial and config.get("rational_resampler", default.rational))
        scale = config.get("spatial_scale", 2.0) if spatial else 2.0
        if scale not in ((2.0, 1.5) if rational else (2.0,)):
            raise CheckpointError(
                f"The upsampler declares spatial_scale={scale!r} with "
                f"rational_resampler={rational}, which is not supported.",
                next_step=_UPSAMPLERS,
            )
        return cls(
            in_channels=config.get("in_channels", default.in_channels),
            mid_channels=config.get("mid_channels", 512 if temporal else default.mid_channels),
            num_blocks=config.get("num_blocks_per_stage", default.num_blocks),
            temporal=temporal,
            rational=rational,
            scale=Fraction(scale),
        )


_UPSAMPLERS = "Use the published x2 or x1.5 spatial or x2 temporal latent upsampler."

# What the metadata may say where this code has one way of doing it. The published files spell out
# many more keys; those absent here are of other model families and are not read by LTX-2.
_ROPE_SUPPORTED: dict[str, Any] = {
    "positional_embedding_type": "rope",
    "rope_type": "split",
    "frequencies_precision": "float64",
}
_TRANSFORMER_SUPPORTED: dict[str, Any] = {
    **_ROPE_SUPPORTED,
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "norm_elementwise_affine": False,
    "qk_norm": "rms_norm",
    "standardization_norm": "rms_norm",
    "double_self_attention": False,
    "only_cross_attention": False,
    "share_ff": False,
    "use_audio_video_cross_attention": True,
    "av_cross_ada_norm": True,
    "use_middle_indices_grid": True,
    "causal_temporal_positioning": True,
    "ff_bias": True,
    "use_prompt_adaln_single": True,
}
_CONNECTOR_SUPPORTED: dict[str, Any] = {
    **_ROPE_SUPPORTED,
    "use_embeddings_connector": True,
    "connector_norm_output": True,
}
_OWN_PROJECTIONS_SUPPORTED: dict[str, Any] = {
    "text_encoder_norm_type": "per_token_rms",
    "caption_projection_first_linear": False,
    "caption_projection_second_linear": False,
    "caption_proj_input_norm": False,
}


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    if not isinstance(section, Mapping):
        raise CheckpointError(
            f"The checkpoint's metadata has no section {name!r}.",
            next_step="Use an LTX-2 file in the official single-file layout.",
        )
    return section


def _require_supported(section: Mapping[str, Any], supported: Mapping[str, Any]) -> None:
    for key, value in supported.items():
        if key in section and section[key] != value:
            raise CheckpointError(
                f"The checkpoint declares {key}={section[key]!r}; only {value!r} is supported.",
                next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
            )


def _switch(section: Mapping[str, Any], key: str) -> bool:
    value = section.get(key, False)
    if not isinstance(value, bool):
        raise CheckpointError(
            f"The checkpoint declares {key}={value!r}; it is true or false.",
            next_step="Use an unchanged LTX-2 or LTX-2.3 checkpoint.",
        )
    return value


def _floats(values: list[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
