"""The walk from a request to a clip.

Request -> text -> contexts -> states (latents, masks, positions, noise) -> for each sigma: guided
prediction, step -> decode video, decode audio -> Clip.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltx2 import __version__
from ltx2.checkpoint.catalog import find_lora, find_model
from ltx2.checkpoint.loader import Networks, load_networks
from ltx2.checkpoint.lora import fuse_loras, read_lora
from ltx2.clip import Clip
from ltx2.diffusion.denoise import OnStep, Step, denoise
from ltx2.diffusion.guidance import Pass, guided_prediction, needed_passes, perturbations
from ltx2.diffusion.schedules import OFFICIAL_SHIFT, shifted_sigmas
from ltx2.diffusion.state import (
    Grid,
    Joint,
    LatentState,
    audio_positions,
    draw_noise,
    unpatchify_audio,
    unpatchify_video,
    video_positions,
)
from ltx2.errors import (
    CheckpointError,
    GenerationCancelled,
    GenerationError,
    RequestError,
)
from ltx2.geometry import num_audio_latents, num_samples
from ltx2.media.frames import to_uint8_frames
from ltx2.model.text import TextPath
from ltx2.model.transformer import ModalityInput, Transformer
from ltx2.model.video_vae import TileSize
from ltx2.preview import OnPreview, Preview, PreviewPlan
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel
from ltx2.request import AppliedLora, Guidance, ModelProfile, Recipe, Request
from ltx2.runtime.placement import (
    choose_device,
    choose_dtype,
    memory_explained,
)
from ltx2.runtime.small import SMALL_MODEL_PARAMETERS

REMEMBERED_PROMPTS = 8
"""Contexts kept in memory, about 16 MB each for the published model."""

SPATIAL_TILE, TEMPORAL_TILE = TileSize(512, 64), TileSize(64, 24)
"""Tiles of the released pipelines, in pixels and frames; what is no larger is decoded whole."""


def load(
    name_or_path: str | Path = "puppet",
    *,
    text_encoder: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    loras: Sequence[tuple[str | Path, float]] = (),
) -> "Pipeline":
    """A pipeline with the networks of a model; its text encoder follows with the first prompt.

    Args:
        name_or_path: a known name, a model folder, or a checkpoint file.
        text_encoder: folder of the text encoder, where the model does not bring its own.
        device: as PyTorch writes it; "auto" takes CUDA, else Apple's GPU, else the CPU.
        dtype: "float32", "bfloat16" or "float16"; "auto" takes float32 for small models and
            bfloat16 for large ones.
        loras: files, or names of those beside the model, with their strengths; their changes are
            added to the transformer's weights.

    Raises:
        CheckpointError: the model or a LoRA is not there, damaged, or does not fit.
        RequestError: the device or dtype is unknown, or a strength is not a number.
        ResourceError: there is too little memory.
    """
    found = find_model(name_or_path, text_encoder=text_encoder)
    if found.text_encoder is None:
        raise CheckpointError(
            f"The model {found.name} has no text encoder beside it.",
            next_step="Give the folder of its Gemma 3 model as text_encoder.",
        )
    chosen = [(find_lora(found, path), _check_strength(path, strength)) for path, strength in loras]
    place = choose_device(device)
    num_parameters = sum(info.num_elements for info in found.file.tensors.values())
    number = choose_dtype(dtype, num_parameters=num_parameters)
    with memory_explained("Choose dtype bfloat16, or a device with more memory."):
        # LoRAs first: one that cannot be used should not cost the wait for the model.
        read = [(read_lora(path), strength) for path, strength in chosen]
        networks = load_networks(found.file, dtype=number, device=place)
        fuse_loras(networks.transformer, read)
    return Pipeline(
        networks,
        lambda: _load_text_path(networks, Path(found.text_encoder or ""), number, place),
        name=found.name,
        profile=found.profile,
        fingerprint=found.file.fingerprint,
        device=place,
        digest=found.file.digest,
        loras=[
            AppliedLora(file=lora.name, strength=strength, digest=lora.digest)
            for lora, strength in read
        ],
    )


class Pipeline:
    """Makes clips from requests; calls one after another, not at the same time.

    Args:
        networks: of one checkpoint, on `device`.
        load_text: brings the text path when the first prompt is read.
        name: of the model, for recipes.
        profile: the model's usual settings and limits.
        fingerprint: of the checkpoint's names and shapes, for recipes.
        device: where everything runs.
        digest: of the checkpoint's weights, for recipes; None if they are in no file.
        loras: what was added to them, for recipes.

    Raises:
        CheckpointError: the profile contradicts the networks.
    """

    def __init__(
        self,
        networks: Networks,
        load_text: Callable[[], TextPath],
        *,
        name: str,
        profile: ModelProfile,
        fingerprint: str,
        device: torch.device | str,
        digest: str | None = None,
        loras: Sequence[AppliedLora] = (),
    ) -> None:
        _check_profile(profile, networks)
        self.networks = networks
        self.name = name
        self.profile = profile
        self.fingerprint = fingerprint
        self.digest = digest
        self.loras = tuple(loras)
        self.device = torch.device(device)
        self._load_text = load_text
        self._text: TextPath | None = None
        num_parameters = sum(weight.numel() for weight in networks.transformer.parameters())
        self._keeps_text = num_parameters < SMALL_MODEL_PARAMETERS
        self._context = lru_cache(REMEMBERED_PROMPTS)(self._encode)
        self._preview_plan = PreviewPlan()

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        *,
        on_progress: OnProgress = ignore_progress,
        should_cancel: ShouldCancel = never_cancel,
        on_preview: OnPreview | None = None,
    ) -> Clip:
        """The clip that was asked for; the same request gives the same clip on one machine.

        Args:
            request: what to make.
            on_progress: told about stages and steps.
            should_cancel: asked between them.
            on_preview: shown what the clip looks and sounds like so far, which takes a part of
                the time.

        Raises:
            RequestError: the model cannot make this.
            GenerationCancelled: `should_cancel` said so; it is asked between steps and stages.
            GenerationError: the networks' values are not finite.
            ResourceError: there is too little memory.
        """
        request = request.resolve(self.profile)
        with memory_explained(_cheaper(request, self.profile)):
            return self._make(request, _Watch(on_progress, should_cancel), on_preview)

    def _make(self, request: Request, watch: "_Watch", on_preview: OnPreview | None) -> Clip:
        networks, guidance = self.networks, self._guidance(request)
        sigmas = self._sigmas(request)
        assert request.num_frames is not None  # resolved
        assert request.frame_rate is not None
        assert request.height is not None
        assert request.width is not None

        with watch.stage("encode prompt"):
            contexts = {Pass.CONDITIONAL: self._context(request.prompt)}
            if Pass.NEGATIVE in needed_passes(guidance):
                contexts[Pass.NEGATIVE] = self._context(request.negative_prompt or "")
            if not self._keeps_text:
                # A large text encoder would take the memory that the other networks work in.
                self._text = None

        grid = networks.video_vae.compression.latent_grid(
            request.num_frames, request.height, request.width
        )
        rate = networks.audio_vae.latents_per_second
        num_audio = num_audio_latents(request.num_frames, request.frame_rate, rate)
        states = initial_states(networks, grid, num_audio, frame_rate=request.frame_rate)
        generator = torch.Generator("cpu").manual_seed(request.seed)
        noise = draw_noise(states, generator)
        states = Joint(states.video.noised(noise.video), states.audio.noised(noise.audio))

        show = self._previews(grid, request.frame_rate, on_preview)
        with watch.stage("denoise", total=len(sigmas) - 1) as count:

            def on_step(step: Step) -> None:
                count(step)
                show(step)

            states = sample(
                networks.transformer,
                states,
                sigmas,
                contexts=contexts,
                guidance=guidance,
                on_step=on_step,
                should_cancel=watch.should_cancel,
            )
        with self._preview_plan.measured():
            with watch.stage("decode video"):
                frames = self._frames(states.video.tokens, grid, generator)
            with watch.stage("decode audio"):
                waveform = self._waveform(states.audio.tokens, len(frames), request.frame_rate)

        return Clip(
            frames,
            waveform,
            frame_rate=request.frame_rate,
            sample_rate=networks.vocoder.sample_rate,
            recipe=Recipe(
                software=f"ltx2 {__version__}",
                model=self.name,
                fingerprint=self.fingerprint,
                digest=self.digest,
                loras=self.loras,
                request=request,
            ),
        )

    def differences_from(self, recipe: Recipe) -> tuple[str, ...]:
        """Why a clip of this pipeline would not be that of `recipe`; empty if it would.

        One sentence about the model and its weights, one about the LoRAs. An older recipe does
        not know its weights, only their shapes.
        """
        differences = []
        if recipe.model != self.name:
            differences.append(
                f"The recipe was made with the model {recipe.model}, this is {self.name}."
            )
        elif recipe.fingerprint != self.fingerprint:
            differences.append(f"The recipe was made with another architecture of {self.name}.")
        elif recipe.digest not in (None, self.digest):
            differences.append(f"The recipe was made with other weights of {self.name}.")
        if _changes(recipe.loras) != _changes(self.loras):
            differences.append(
                f"The recipe was made with {_listed(recipe.loras)}, this has {_listed(self.loras)}."
            )
        return tuple(differences)

    def _frames(
        self, tokens: Tensor, grid: Grid, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """Pictures [F, H, W, 3] of video tokens."""
        latents = unpatchify_video(tokens, grid)
        return to_uint8_frames(_finite(decode_video(self.networks, latents, generator))[0])

    def _waveform(self, tokens: Tensor, num_frames: int, frame_rate: float) -> np.ndarray:
        """Sound [2, S] of audio tokens, as long as the pictures."""
        latents = unpatchify_audio(tokens, self.networks.audio_vae.latent_bins)
        waveform = _finite(decode_audio(self.networks, latents))[0]
        rate = self.networks.vocoder.sample_rate
        return _fit(waveform, num_samples(num_frames, frame_rate, rate))

    def _previews(self, grid: Grid, frame_rate: float, on_preview: OnPreview | None) -> OnStep:
        """Shows the clip as it is after a step: all of it where time allows, else one picture."""
        plan = self._preview_plan.start(num_voxels=math.prod(grid))
        if on_preview is None:
            return lambda _: None

        def show(step: Step) -> None:
            if step.index == step.total:
                return  # the clip itself comes next
            waveform: np.ndarray | None = None
            if plan.affords_all():
                with plan.measured(), plan.spent():
                    frames = self._frames(step.denoised.video, grid)
                    waveform = self._waveform(step.denoised.audio, len(frames), frame_rate)
            else:
                with plan.spent():
                    first = step.denoised.video[:, : grid[1] * grid[2]]
                    frames = self._frames(first, (1, grid[1], grid[2]))
            rate = self.networks.vocoder.sample_rate
            on_preview(Preview(step.index, step.total, frames, frame_rate, waveform, rate))

        return show

    def _encode(self, prompt: str) -> Joint[Tensor]:
        if self._text is None:
            with memory_explained("Load the model on the CPU, or use a smaller text encoder."):
                self._text = self._load_text()
        return Joint(*self._text.contexts([prompt]))

    def _guidance(self, request: Request) -> Joint[Guidance]:
        assert request.video_guidance is not None  # resolved
        assert request.audio_guidance is not None
        guidance = Joint(request.video_guidance, request.audio_guidance)
        num_blocks = len(self.networks.transformer.transformer_blocks)
        beyond = [b for scales in guidance for b in scales.stg_blocks if not 0 <= b < num_blocks]
        if beyond:
            raise RequestError(
                f"stg_blocks names block {beyond[0]}.",
                next_step=f"This model has the blocks 0 to {num_blocks - 1}.",
            )
        return guidance

    def _sigmas(self, request: Request) -> Sequence[float]:
        assert request.num_steps is not None  # resolved
        if self.profile.sigmas is None:
            shift = OFFICIAL_SHIFT if self.profile.shift is None else self.profile.shift
            levels: list[float] = shifted_sigmas(request.num_steps, shift=shift).tolist()
            return levels
        num_steps = len(self.profile.sigmas) - 1
        if request.num_steps != num_steps:
            raise RequestError(
                f"This model cannot take {request.num_steps} steps.",
                next_step=f"It was made for exactly {num_steps}; leave them out.",
            )
        return self.profile.sigmas


def initial_states(
    networks: Networks, grid: Grid, num_audio: int, *, frame_rate: float
) -> Joint[LatentState]:
    """Both modalities before noise, everything to be generated.

    Args:
        networks: whose latents they are.
        grid: latent frames, height and width.
        num_audio: latent audio frames.
        frame_rate: pictures per second.
    """
    video_vae, audio_vae = networks.video_vae, networks.audio_vae
    device = networks.transformer.patchify_proj.weight.device
    audio_width = audio_vae.latent_channels * audio_vae.latent_bins
    return Joint(
        LatentState.to_generate(
            torch.zeros(1, grid[0] * grid[1] * grid[2], video_vae.latent_channels, device=device),
            video_positions(grid, video_vae.compression, frame_rate).to(device),
        ),
        LatentState.to_generate(
            torch.zeros(1, num_audio, audio_width, device=device),
            audio_positions(num_audio).to(device),
        ),
    )


def sample(
    transformer: Transformer,
    states: Joint[LatentState],
    sigmas: Sequence[float],
    *,
    contexts: Mapping[Pass, Joint[Tensor]],
    guidance: Joint[Guidance],
    on_step: OnStep = lambda _: None,
    should_cancel: ShouldCancel = never_cancel,
) -> Joint[LatentState]:
    """Both modalities after all steps.

    Args:
        transformer: predicts velocities.
        states: noisy at the level `sigmas[0]`.
        sigmas: falling noise levels.
        contexts: of the prompt (conditional) and, where guidance needs it, the negative one,
            each [1, T_c, D].
        guidance: scales of both modalities.
        on_step: told about every finished step.
        should_cancel: asked before every step.

    Raises:
        GenerationCancelled: `should_cancel` said so.
        GenerationError: the transformer's values are not finite.
    """

    def network(states: Joint[LatentState], sigma: float, kind: Pass) -> Joint[Tensor]:
        context = contexts.get(kind, contexts[Pass.CONDITIONAL])
        inputs = [
            ModalityInput(
                tokens=state.tokens,
                timesteps=state.timesteps(sigma),
                sigma=torch.full_like(state.tokens[:, 0, 0], sigma),
                positions=state.positions,
                context=text,
            )
            for state, text in zip(states, context, strict=True)
        ]
        video, audio = transformer(*inputs, perturbations(kind, guidance))
        assert video is not None
        assert audio is not None
        return Joint(video, audio)

    predict = guided_prediction(network, guidance)
    return denoise(states, sigmas, predict, on_step=on_step, should_cancel=should_cancel)


def decode_video(
    networks: Networks, latents: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Video [B, 3, F, H, W] in about -1..1 of normalised latents.

    Args:
        networks: whose latents they are.
        latents: [B, C, f, h, w]; a clip of more voxels than one tile is decoded in tiles.
        generator: of the CPU; draws the noise that a timestep-conditioned decoder mixes in, which
            is zero without it. Other decoders draw none.
    """
    vae = networks.video_vae
    latents = latents.to(vae.per_channel_statistics.mean.dtype)
    noise = None
    if vae.config.timestep_conditioning and generator is not None:
        noise = torch.randn(latents.shape, generator=generator).to(latents)
    compression = vae.compression
    frames = TEMPORAL_TILE.size // compression.temporal
    side = SPATIAL_TILE.size // compression.spatial
    if latents[0, 0].numel() <= frames * side**2:
        return vae.decode(latents, noise=noise)
    return vae.decode_tiled(latents, spatial=SPATIAL_TILE, temporal=TEMPORAL_TILE, noise=noise)


def decode_audio(networks: Networks, latents: Tensor) -> Tensor:
    """Waveform [B, 2, S] in -1..1 of normalised latents."""
    # 10 bits of mantissa, which CUDA would round to, are audible.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        waveform: Tensor = networks.vocoder(networks.audio_vae.decode(latents.float()))
    return waveform


class _Watch:
    """Stages as progress, and a chance to stop before each of them."""

    def __init__(self, on_progress: OnProgress, should_cancel: ShouldCancel) -> None:
        self.should_cancel = should_cancel
        self._on_progress = on_progress

    @contextmanager
    def stage(self, name: str, *, total: int = 1) -> Iterator[OnStep]:
        if self.should_cancel():
            raise GenerationCancelled
        self._on_progress(Progress(name, 0, total))

        def on_step(step: Step) -> None:
            if step.index < total:
                self._on_progress(Progress(name, step.index, total))

        yield on_step
        self._on_progress(Progress(name, total, total))


def _fit(waveform: Tensor, length: int) -> np.ndarray:
    """Waveform [2, length], cut or followed by silence."""
    fitted = waveform.new_zeros(waveform.shape[0], length)
    kept = min(length, waveform.shape[1])
    fitted[:, :kept] = waveform[:, :kept]
    return fitted.float().cpu().numpy()


def _finite(decoded: Tensor) -> Tensor:
    if not decoded.isfinite().all():
        raise GenerationError(
            "The decoded clip holds values that are not finite.",
            next_step="Load the model with dtype float32 or bfloat16.",
        )
    return decoded


def _check_strength(path: str | Path, strength: float) -> float:
    if not math.isfinite(strength):
        raise RequestError(
            f"The LoRA {path} has the strength {strength}.",
            next_step="Give a number; 1 is as it was trained.",
        )
    return strength


def _changes(loras: Sequence[AppliedLora]) -> list[tuple[str, float]]:
    """What LoRAs do, whatever their files are called."""
    return [(lora.digest, lora.strength) for lora in loras]


def _listed(loras: Sequence[AppliedLora]) -> str:
    if not loras:
        return "no LoRA"
    shown = ", ".join(f"{lora.file} ({lora.strength:g}, {lora.digest[:8]})" for lora in loras)
    return f"the LoRA {shown}" if len(loras) == 1 else f"the LoRAs {shown}"


def _load_text_path(
    networks: Networks, folder: Path, dtype: torch.dtype, device: torch.device
) -> TextPath:
    from ltx2.model.text.encoder import TextEncoder

    encoder = TextEncoder.load(folder, dtype=dtype, device=device)
    width = encoder.model.config.hidden_size * encoder.num_states
    expected = networks.projection.aggregate_embed.in_features
    if width != expected:
        raise CheckpointError(
            f"The text encoder gives {width:,} values per token, the checkpoint takes "
            f"{expected:,}.",
            next_step="Use the text encoder that the checkpoint was trained with.",
        )
    return TextPath(
        encoder, networks.projection, networks.video_connector, networks.audio_connector
    )


def _check_profile(profile: ModelProfile, networks: Networks) -> None:
    compression = networks.video_vae.compression
    if (
        profile.spatial_multiple % compression.spatial
        or profile.temporal_multiple % compression.temporal
    ):
        raise CheckpointError(
            f"The model's profile makes sizes of {profile.spatial_multiple} px and "
            f"{profile.temporal_multiple} frames, its video autoencoder works in "
            f"{compression.spatial} px and {compression.temporal} frames.",
            next_step="Use the profile that the checkpoint was made with.",
        )


def _cheaper(request: Request, profile: ModelProfile) -> str:
    """The change of a resolved request that costs least and saves most memory."""
    assert request.num_frames is not None  # resolved
    assert request.frame_rate is not None
    assert request.height is not None
    assert request.width is not None
    if request.num_frames / request.frame_rate > profile.duration_s + 0.5:
        return f"Shorten the clip, for example to {profile.duration_s:.1f} s."
    if request.height * request.width > profile.height * profile.width:
        return f"Make the picture smaller, for example {profile.width} x {profile.height}."
    return "Shorten the clip or make the picture smaller, or load the model in bfloat16."
