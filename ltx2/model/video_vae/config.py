"""Architecture of the video autoencoder, read from a checkpoint's metadata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from ltx2.errors import CheckpointError
from ltx2.geometry import VideoCompression

Stride = tuple[int, int, int]
PaddingMode = Literal["zeros", "reflect"]

_STRIDES: dict[str, Stride] = {
    "compress_all": (2, 2, 2),
    "compress_space": (1, 2, 2),
    "compress_time": (2, 1, 1),
}


@dataclass(frozen=True)
class ResidualStage:
    """A run of residual blocks at one resolution."""

    num_layers: int


@dataclass(frozen=True)
class ResampleStage:
    """A change of resolution by `stride` (time, height, width).

    Attributes:
        multiplier: factor between the channels on its two sides, larger at low resolution.
        residual: whether the resampled input is added to the convolution's result.
    """

    stride: Stride
    multiplier: int
    residual: bool


Stage = ResidualStage | ResampleStage


@dataclass(frozen=True)
class VideoVAEConfig:
    """Sizes of encoder and decoder; stages are listed from the picture to the latents.

    Attributes:
        latent_channels: channels of a latent voxel.
        patch_size: pixels folded into channels at the picture side, per axis.
        encoder_channels, decoder_channels: width at the picture's resolution.
        timestep_conditioning: the decoder expects a noise level (an early distilled file).
        unused_statistics: files of the 19B store statistics that nobody reads; LTX-2.3 does not.
    """

    latent_channels: int
    patch_size: int
    encoder_channels: int
    decoder_channels: int
    encoder_stages: tuple[Stage, ...]
    decoder_stages: tuple[Stage, ...]
    encoder_padding: PaddingMode
    decoder_padding: PaddingMode
    timestep_conditioning: bool = False
    unused_statistics: bool = True

    @property
    def compression(self) -> VideoCompression:
        """Pixels per latent voxel."""
        strides = [s.stride for s in self.encoder_stages if isinstance(s, ResampleStage)]
        temporal, height = prod(s[0] for s in strides), prod(s[1] for s in strides)
        return VideoCompression(temporal=temporal, spatial=self.patch_size * height)

    @classmethod
    def from_metadata(cls, config: Mapping[str, Any]) -> "VideoVAEConfig":
        """Configuration from the `vae` section of a checkpoint's `config`.

        Absent keys mean what the 19B release means by leaving them out.

        Raises:
            CheckpointError: the section is missing or asks for something unknown.
        """
        if "vae" not in config:
            raise CheckpointError(
                "The checkpoint's configuration has no section 'vae'.",
                next_step="Use a complete LTX-2 checkpoint.",
            )
        section = config["vae"]
        for key, expected in (("norm_layer", "pixel_norm"), ("latent_log_var", "uniform")):
            _require(section, key, expected)
        for key in ("causal_decoder", "use_quant_conv", "normalize_latent_channels"):
            _require(section, key, False)
        latent_channels = int(section["latent_channels"])
        shared_padding = section.get("spatial_padding_mode")
        return cls(
            latent_channels=latent_channels,
            patch_size=int(section["patch_size"]),
            encoder_channels=int(section.get("encoder_base_channels", latent_channels)),
            decoder_channels=int(section.get("decoder_base_channels", latent_channels)),
            encoder_stages=_stages(section["encoder_blocks"], suffix="_res"),
            decoder_stages=_stages(section["decoder_blocks"], suffix=""),
            encoder_padding=_padding(
                section.get("encoder_spatial_padding_mode", shared_padding or "zeros")
            ),
            decoder_padding=_padding(
                section.get("decoder_spatial_padding_mode", shared_padding or "reflect")
            ),
            timestep_conditioning=bool(section.get("timestep_conditioning", False)),
        )


def _require(section: Mapping[str, Any], key: str, expected: object) -> None:
    if section.get(key, expected) != expected:
        raise CheckpointError(
            f"The video autoencoder has {key} = {section[key]!r}; only {expected!r} is known.",
            next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
        )


def _padding(mode: str) -> PaddingMode:
    if mode == "zeros":
        return "zeros"
    if mode == "reflect":
        return "reflect"
    raise CheckpointError(
        f"The video autoencoder pads with {mode!r}; only 'zeros' and 'reflect' are known.",
        next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
    )


def _stages(blocks: Sequence[tuple[str, Any]], *, suffix: str) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for name, options in blocks:
        values = {"num_layers": options} if isinstance(options, int) else dict(options)
        if name == "res_x" and not values.get("inject_noise", False):
            stages.append(ResidualStage(int(values["num_layers"])))
        elif name.removesuffix("_res") in _STRIDES and name.endswith(suffix):
            residual = bool(values.get("residual", False)) or name.endswith("_res")
            stride = _STRIDES[name.removesuffix("_res")]
            stages.append(ResampleStage(stride, int(values.get("multiplier", 2)), residual))
        else:
            raise CheckpointError(
                f"The video autoencoder has an unknown block {name!r} {values}.",
                next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
            )
    return tuple(stages)
