"""From a checkpoint file to modules, strictly: every tensor has its place and its shape."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ltx2.checkpoint.components import (
    AUDIO_CONNECTOR,
    AUDIO_VAE,
    FEATURE_PROJECTION,
    TRANSFORMER,
    UPSAMPLER,
    VIDEO_CONNECTOR,
    VIDEO_VAE,
    VOCODER,
    Component,
)
from ltx2.checkpoint.quantized import SIGNS_OF_QUANTISATION, QuantizedWeight, is_quantizable
from ltx2.checkpoint.reader import CheckpointFile, TensorInfo
from ltx2.checkpoint.stored import DTYPES
from ltx2.errors import CheckpointError
from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig
from ltx2.model.config import (
    ConnectorConfig,
    FeatureProjectionConfig,
    TransformerConfig,
    UpsamplerConfig,
)
from ltx2.model.quantized import (
    EightBits,
    NVFP4Linear,
    QuantizedLinear,
    linears_of,
    put,
    quantize,
)
from ltx2.model.text import Connector, FeatureProjection, ModalityProjections
from ltx2.model.transformer import Transformer
from ltx2.model.upsampler import LatentUpsampler
from ltx2.model.video_vae import VideoVAE, VideoVAEConfig
from ltx2.model.video_vae.layers import lay_out
from ltx2.model.video_vae.vae import UNUSED_STATISTICS
from ltx2.model.vocoder import Vocoder, VocoderConfig
from ltx2.model.wideband_vocoder import WidebandConfig, WidebandVocoder

Config = Mapping[str, Any]
AnyModule = TypeVar("AnyModule", bound=nn.Module)

_PLAIN_DTYPES = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32"}
"""What weights may be stored in without a scale; fp8 is cast, as the programs do that write it."""
_SHOWN_NAMES = 3

_REPEAT_COUNTS: Mapping[str, tuple[str | None, frozenset[str]]] = {
    TRANSFORMER.name: ("transformer", frozenset({"num_layers"})),
    VIDEO_CONNECTOR.name: ("transformer", frozenset({"connector_num_layers"})),
    AUDIO_CONNECTOR.name: ("transformer", frozenset({"connector_num_layers"})),
    VIDEO_VAE.name: ("vae", frozenset({"num_layers", "res_x"})),
    AUDIO_VAE.name: ("audio_vae", frozenset({"num_res_blocks"})),
    UPSAMPLER.name: (None, frozenset({"num_blocks_per_stage"})),
}
"""Section and keys that say how often a network repeats a part of itself."""


@dataclass(frozen=True)
class Networks:
    """Everything in the official single file, ready to run."""

    transformer: Transformer
    video_connector: Connector
    audio_connector: Connector
    projection: FeatureProjection | ModalityProjections
    video_vae: VideoVAE
    audio_vae: AudioVAE
    vocoder: Vocoder | WidebandVocoder


Stays = Callable[[Component, str], bool]
"""Whether a component's tensor of that name is left in the file, for whoever streams it."""


def stay_nowhere(component: Component, name: str) -> bool:
    """Every tensor is read."""
    return False


def load_networks(
    file: CheckpointFile,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    quantization: EightBits | None = None,
    stays: Stays = stay_nowhere,
) -> Networks:
    """All networks of a complete checkpoint.

    Sound is always computed in float32: it costs little, and 8 bits of mantissa are audible.

    Args:
        file: the checkpoint.
        dtype: what floating-point weights become.
        device: where they go.
        quantization: how the transformer's blocks are stored; None as the file has them.
        stays: which tensors are not read; they are on the meta device.

    Raises:
        CheckpointError: a component is missing, incomplete or of another architecture.
    """

    def load(
        component: Component,
        build: Callable[[Config], AnyModule],
        component_dtype: torch.dtype = dtype,
    ) -> AnyModule:
        return load_component(
            file, component, build, dtype=component_dtype, device=device, stays=stays
        )

    video_vae = load(VIDEO_VAE, video_vae_builder(file))
    lay_out(video_vae, torch.device(device))
    return Networks(
        transformer=load_component(
            file,
            TRANSFORMER,
            build_transformer,
            dtype=dtype,
            device=device,
            quantization=quantization,
            stays=stays,
        ),
        video_connector=load(VIDEO_CONNECTOR, build_video_connector),
        audio_connector=load(AUDIO_CONNECTOR, build_audio_connector),
        projection=load(FEATURE_PROJECTION, projection_builder(file)),
        video_vae=video_vae,
        audio_vae=load(AUDIO_VAE, build_audio_vae, torch.float32),
        vocoder=load(VOCODER, build_vocoder, torch.float32),
    )


def load_upsampler(
    file: CheckpointFile, *, dtype: torch.dtype, device: torch.device | str
) -> LatentUpsampler:
    """The network of a latent upsampler's file.

    Raises:
        CheckpointError: it is not one, is incomplete or of another architecture.
    """

    def build(config: Config) -> LatentUpsampler:
        return LatentUpsampler(UpsamplerConfig.from_metadata(config))

    return load_component(file, UPSAMPLER, build, dtype=dtype, device=device)


def load_component(
    file: CheckpointFile,
    component: Component,
    build: Callable[[Config], AnyModule],
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    quantization: EightBits | None = None,
    stays: Stays = stay_nowhere,
) -> AnyModule:
    """One network in evaluation mode with the file's weights.

    Weights that the file stores in fewer bits stay in them; their layers compute in `dtype`.

    Args:
        file: the checkpoint.
        component: which of its tensors to take.
        build: makes the module from the whole metadata `config`.
        dtype: what floating-point weights become.
        device: where they go.
        quantization: how the linear layers of blocks are stored that the file has whole.
        stays: which tensors are not read; they are on the meta device.

    Raises:
        CheckpointError: a tensor is missing, unexpected, stored in an unknown way or has another
            shape, or the configuration cannot be used.
    """
    found = component.own(file.tensors)
    if not found:
        raise CheckpointError(
            f"{file.path.name} has no {component.name}.",
            next_step="Use a complete LTX-2 checkpoint.",
        )
    _require_plausible(file, component, found)
    module = _build_empty(file, component, build)
    _require_readable(file, component, found, module)
    _require_same(file, component, found, module)
    _fill(module, file, component, _Wanted(dtype, torch.device(device), quantization, stays))
    return module.requires_grad_(False).eval()


@dataclass(frozen=True)
class _Wanted:
    """How a network's weights are to be."""

    dtype: torch.dtype
    device: torch.device
    quantization: EightBits | None
    stays: Stays


def _fill(module: nn.Module, file: CheckpointFile, component: Component, wanted: _Wanted) -> None:
    """Gives a module without memory its weights, holding no more than one of them twice."""
    linears = linears_of(module)
    # What each stored tensor is called in the module, and which of them are bits.
    names: dict[str, str] = {}
    bits: set[str] = set()
    state: dict[str, Tensor] = {}
    is_mps = wanted.device.type == "mps"
    has_absent = False
    for name in component.own(file.tensors):
        stays = wanted.stays(component, name)
        has_absent |= stays
        weight = file.quantized.get(component.prefix + name)
        if weight is None:
            names |= {} if stays else {component.prefix + name: name}
        elif is_mps and weight.kind != "int8":  # Apple's GPUs have no 8 bits of floating point
            state[name] = _whole(file, weight, wanted.dtype).to(wanted.device)
        else:
            own = name.removesuffix(".weight")
            put(module, own, _empty_bits(file, weight, linears[own], wanted.dtype))
            bits |= {*weight.names.values()}
            if not stays:
                names |= {full: f"{own}.{short}" for short, full in weight.names.items()}
    for full, tensor in file.each(names):
        own = names[full].removesuffix(".weight")
        if full in bits:
            state[names[full]] = tensor.to(wanted.device)
        elif wanted.quantization and own in linears and is_quantizable(names[full]):
            # Where it will be computed, but for what Apple's GPUs cannot.
            tensor = tensor.to("cpu" if is_mps else wanted.device)
            quantized = quantize(tensor, wanted.quantization)
            put(module, own, QuantizedLinear(quantized, linears[own].bias, dtype=wanted.dtype))
            state |= {f"{own}.{short}": part.to(wanted.device) for short, part in quantized.items()}
        else:
            state[names[full]] = _placed(tensor, wanted.dtype, wanted.device)
    if has_absent:
        module.to(wanted.dtype)  # what stays has to have the type that it will visit in
    module.load_state_dict(state, assign=True, strict=not has_absent)


def _empty_bits(
    file: CheckpointFile, weight: QuantizedWeight, linear: nn.Linear, dtype: torch.dtype
) -> QuantizedLinear | NVFP4Linear:
    """A layer for the bits of a file, none of which are read yet."""
    empty = {}
    for short, full in weight.names.items():
        part, own = file.stored[full]
        info = part.tensors[own]
        empty[short] = torch.empty(info.shape, dtype=DTYPES[info.dtype], device="meta")
    return _layer_of(weight)(empty, linear.bias, dtype=dtype)


def read_weight(file: CheckpointFile, name: str) -> Tensor:
    """A weight as its layer multiplies with it, whatever the bits that the file has of it.

    Raises:
        CheckpointError: the file changed since it was opened.
    """
    weight = file.quantized.get(name)
    return file.read([name])[name] if weight is None else _whole(file, weight, torch.float32)


def _whole(file: CheckpointFile, weight: QuantizedWeight, dtype: torch.dtype) -> Tensor:
    """What the bits of a file stand for."""
    stored = file.read(weight.names.values())
    bits = {short: stored[full] for short, full in weight.names.items()}
    return _layer_of(weight)(bits, None, dtype=dtype).dequantized()


def _layer_of(weight: QuantizedWeight) -> type[QuantizedLinear | NVFP4Linear]:
    return NVFP4Linear if weight.kind == "nvfp4" else QuantizedLinear


def build_transformer(config: Config) -> Transformer:
    """The transformer of a configuration, weights undefined or random as the device has it."""
    return Transformer(TransformerConfig.from_metadata(config))


def build_video_connector(config: Config) -> Connector:
    """The connector between the text features and the video."""
    return Connector(ConnectorConfig.from_metadata(config, modality="video"))


def build_audio_connector(config: Config) -> Connector:
    """The connector between the text features and the audio."""
    return Connector(ConnectorConfig.from_metadata(config, modality="audio"))


def build_video_vae(config: Config) -> VideoVAE:
    """The video autoencoder."""
    return VideoVAE(VideoVAEConfig.from_metadata(config))


def build_audio_vae(config: Config) -> AudioVAE:
    """The audio autoencoder."""
    return AudioVAE(AudioVAEConfig.from_metadata(config))


def build_vocoder(config: Config) -> Vocoder | WidebandVocoder:
    """The vocoder: of the 19B, or that of LTX-2.3, which says so by its second generator."""
    section = config.get("vocoder")
    if isinstance(section, Mapping) and "bwe" in section:
        return WidebandVocoder(WidebandConfig.from_metadata(config))
    return Vocoder(VocoderConfig.from_metadata(config))


def projection_builder(
    file: CheckpointFile,
) -> Callable[[Config], FeatureProjection | ModalityProjections]:
    """Builds the feature projection; how many hidden states it takes only its weight tells."""
    own = FEATURE_PROJECTION.own(file.tensors)
    weight = own.get("aggregate_embed.weight", own.get("video_aggregate_embed.weight"))

    def build(config: Config) -> FeatureProjection | ModalityProjections:
        one_state = FeatureProjectionConfig.from_metadata(config, num_states=1)
        width = weight.shape[-1] if weight is not None and weight.shape else 0
        sizes = replace(one_state, num_states=max(1, width // one_state.hidden_size))
        return FeatureProjection(sizes) if sizes.audio_dim is None else ModalityProjections(sizes)

    return build


def video_vae_builder(file: CheckpointFile) -> Callable[[Config], VideoVAE]:
    """Builds the video autoencoder; a silent configuration leaves its kind to the tensors.

    The decoder of an early distilled file expects a noise level; LTX-2.3 stores fewer statistics.
    """
    own = VIDEO_VAE.own(file.tensors)
    is_conditioned = "decoder.last_scale_shift_table" in own
    has_unused = any(f"per_channel_statistics.{name}" in own for name in UNUSED_STATISTICS)

    def build(config: Config) -> VideoVAE:
        if "vae" in config:
            config = {**config, "vae": {"timestep_conditioning": is_conditioned, **config["vae"]}}
        sizes = VideoVAEConfig.from_metadata(config)
        return VideoVAE(replace(sizes, unused_statistics=has_unused))

    return build


def _require_plausible(
    file: CheckpointFile, component: Component, found: Mapping[str, TensorInfo]
) -> None:
    """Complain about more parts than there are tensors; building them all could take hours."""
    section, keys = _REPEAT_COUNTS.get(component.name, (None, frozenset()))
    stated = file.config if section is None else file.config.get(section)
    for key, count in _counts(stated, keys):
        if count > len(found):
            raise CheckpointError(
                f"The configuration of the {component.name} in {file.path.name} has {key} = "
                f"{count:,}, more than the {len(found):,} tensors that the file has for it.",
                next_step="Use an unchanged checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
            )


def _counts(stated: object, keys: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Whole numbers under `keys`, also as the pairs [key, number] of the video autoencoder."""
    match stated:
        case Mapping():
            for key, value in stated.items():
                yield from _counts([key, value], keys)
        case [str() as key, int() as count] if key in keys:
            yield key, count
        case list():
            for value in stated:
                yield from _counts(value, keys)


def _build_empty(
    file: CheckpointFile, component: Component, build: Callable[[Config], AnyModule]
) -> AnyModule:
    """The module without memory for its weights."""
    try:
        with torch.device("meta"):
            return build(file.config)
    except CheckpointError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        # A configuration that says nonsense makes constructors fail in many ways.
        raise CheckpointError(
            f"The configuration of the {component.name} in {file.path.name} cannot be used ({e}).",
            next_step="Use a checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
        ) from e


def _require_readable(
    file: CheckpointFile,
    component: Component,
    found: Mapping[str, TensorInfo],
    module: nn.Module,
) -> None:
    """Complain about weights in fewer bits that nothing here can compute with."""
    linears = {f"{name}.weight" for name in linears_of(module)}
    quantized = {name for name in found if component.prefix + name in file.quantized}
    plain = {info.dtype for name, info in found.items() if name not in quantized}
    what = None
    if unknown := sorted(plain - _PLAIN_DTYPES):
        what = f"as {', '.join(unknown)}"
    if signs := [name for name in found if name.endswith(SIGNS_OF_QUANTISATION)]:
        what = f"in fewer bits with {signs[0][:120]!r}"
    if others := sorted(quantized - linears):
        what = f"in fewer bits outside linear layers ({others[0][:120]!r})"
    if what:
        raise CheckpointError(
            f"{file.path.name} stores the {component.name} {what}, which cannot be read.",
            next_step="Use a file with bfloat16 weights, or with fp8, int8 or NVFP4 ones in the "
            "layouts of the published files or of ComfyUI.",
        )


def _require_same(
    file: CheckpointFile, component: Component, found: Mapping[str, TensorInfo], module: nn.Module
) -> None:
    """Complain about names and shapes before anything is read."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    reshaped = sorted(n for n in expected.keys() & found.keys() if expected[n] != found[n].shape)
    problems = []
    if missing:
        problems.append(f"lacks {_some(missing)}")
    if unexpected:
        problems.append(f"has {_some(unexpected)} too many")
    if reshaped:
        first = reshaped[0]
        problems.append(
            f"has {_some(reshaped)} in another shape ({list(found[first].shape)} instead of "
            f"{list(expected[first])})"
        )
    if problems:
        raise CheckpointError(
            f"The {component.name} in {file.path.name} does not fit its configuration: it "
            f"{'; it '.join(problems)}.",
            next_step="Use an unchanged checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name[:120]) for name in names[:_SHOWN_NAMES])
    rest = len(names) - _SHOWN_NAMES
    return shown if rest <= 0 else f"{shown} and {rest:,} more"


def _placed(tensor: Tensor, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else None)
