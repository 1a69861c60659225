"""The walk from a request to a clip.

Request -> text -> contexts -> what is given, drawn on a canvas -> for each part of the clip, for
each stage: states (latents, masks, positions, noise) -> for each sigma: guided prediction, step
-> decode video, decode audio -> the canvas, which becomes the Clip.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ltx2 import __version__
from ltx2.checkpoint.catalog import FoundModel, LoraChoice, find_model
from ltx2.checkpoint.loader import Networks, load_networks, stay_nowhere
from ltx2.checkpoint.text_encoders import identity_of_text_encoder
from ltx2.checkpoint.text_loader import load_text_encoder
from ltx2.clip import Clip
from ltx2.diffusion.denoise import OnStep, Step
from ltx2.diffusion.guidance import Pass, needed_passes
from ltx2.diffusion.samplers import make_sampler
from ltx2.diffusion.state import (
    Grid,
    Joint,
    LatentState,
    draw_noise,
    patchify_video,
    unpatchify_audio,
    unpatchify_video,
)
from ltx2.diffusion.tiles import TileLimits
from ltx2.errors import CheckpointError, GenerationCancelled, RequestError
from ltx2.generation.canvas import Canvas, draw_canvas
from ltx2.generation.codec import decode_audio, decode_frames, finite
from ltx2.generation.given import Given, read_given
from ltx2.generation.loras import ModelLoras, changes_of, listed, read_loras
from ltx2.generation.refining import Refining, find_refining
from ltx2.generation.sampling import sample
from ltx2.generation.stages import Stage, stages_of
from ltx2.generation.states import begin, initial_states
from ltx2.geometry import growth, num_audio_latents, num_samples
from ltx2.inputs import Inputs
from ltx2.model.config import CrossTimestep
from ltx2.model.quantized import EightBits
from ltx2.model.text import TextPath
from ltx2.model.transformer import Transformer
from ltx2.preview import OnPreview, Preview, PreviewPlan
from ltx2.progress import OnProgress, Progress, ShouldCancel, ignore_progress, never_cancel
from ltx2.request import AppliedLora, Computation, Guidance, ModelProfile, Recipe, Request
from ltx2.runtime.allocator import memory_reused
from ltx2.runtime.anatomy import anatomy_of
from ltx2.runtime.kernels import choose_attention, compile_blocks
from ltx2.runtime.memory import choose_placement, look, offload_beside
from ltx2.runtime.offload import stream_networks, stream_text_encoder
from ltx2.runtime.parallel import processes_here
from ltx2.runtime.placement import (
    choose_device,
    choose_dtype,
    choose_quantization,
    memory_explained,
)
from ltx2.runtime.prompt_cache import PromptCache, identity_of
from ltx2.runtime.small import SMALL_MODEL_PARAMETERS, is_small
from ltx2.runtime.visitors import Offload, visits
from ltx2.timeline import plan_windows

Lora = tuple[str | Path, float] | tuple[str | Path, float, float | None] | LoraChoice
"""A LoRA's file or name, its strength, and perhaps another one for the sound."""

DIGEST_CHARACTERS = 32
"""As digests of weights have them."""

REMEMBERED_PROMPTS = 8
"""Contexts kept in memory, about 16 MB each for the published model."""


def load(  # noqa: PLR0913 - all that can be said of a model
    name_or_path: str | Path = "puppet",
    *,
    text_encoder: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    loras: Sequence[Lora] = (),
    live_loras: bool = False,
    refiner: str | Path | None = None,
    offload: str = "auto",
    quantization: str = "none",
    attention: str = "auto",
    compilation: str = "none",
    prompt_cache: Path | None = None,
) -> "Pipeline":
    """A pipeline with the networks of a model; its text encoder follows with the first prompt.

    Args:
        name_or_path: a known name, a model folder, or a checkpoint file.
        text_encoder: folder of the text encoder, or its only file as ComfyUI has it, where the
            model does not bring its own.
        device: as PyTorch writes it; "auto" takes CUDA, else Apple's GPU, else the CPU.
        dtype: "float32", "bfloat16" or "float16"; "auto" takes float32 for small models and
            bfloat16 for large ones.
        loras: files, or names of those beside the model, with their strengths.
        live_loras: computes their changes beside the weights instead of adding them: a little
            slower per step, faster to exchange. Weights in fewer bits or in files always do so.
        refiner: what refines after an upscaling where the model itself needs many steps: a LoRA's
            file, a model of the same kind, or the name of a LoRA beside the model; found beside
            the model if not said.
        offload: where weights wait that are not needed at the moment: "none" keeps all on the
            device, "cpu" in main memory, "disk" in their files; "auto" takes what fits.
        quantization: "int8" or "fp8" keeps the large weights of transformer and text encoder in
            half the memory; "none" keeps them as in their files. What waits in files stays so.
        attention: kernel of the transformer's attention: "flash", "cudnn", "efficient", "math";
            "auto" takes the fastest way there is.
        compilation: "blocks" compiles the transformer's blocks, "graphs" also records them as CUDA
            graphs; weights cannot visit then.
        prompt_cache: folder that remembers what prompts mean to a large model; None for none.

    Raises:
        CheckpointError: the model or a LoRA is not there, damaged, or does not fit.
        RequestError: the device or dtype is unknown, or a strength is not a number.
        ResourceError: there is too little memory.
    """
    found = find_model(name_or_path, text_encoder=text_encoder)
    if found.text_encoder is None:
        raise CheckpointError(
            f"The model {found.name} has no text encoder beside it.",
            next_step="Give its Gemma 3 model as text_encoder (--text-encoder): the folder, or "
            "ComfyUI's single file.",
        )
    text_encoder = found.text_encoder
    place = choose_device(device)
    num_parameters = sum(info.num_elements for info in found.file.tensors.values())
    number = choose_dtype(dtype, num_parameters=num_parameters)
    usual = Request(prompt="any").resolve(found.profile)
    bits = choose_quantization(quantization, device=place)
    anatomy = anatomy_of(found, dtype=str(number).removeprefix("torch."), quantization=quantization)
    offload = offload_beside(compilation, offload)
    memory = look(str(place))
    share = None if memory is None else memory.shared_by(processes_here())
    placement = choose_placement(offload, usual, anatomy, share)
    with memory_explained(
        "Choose --quantization int8, --offload disk, or a device with more memory."
    ):
        # LoRAs first: one that cannot be used should not cost the wait for the model.
        read = read_loras(found, (LoraChoice(*choice) for choice in loras))
        storage = _Storage(number, place, bits)
        networks = _load_networks(found, storage, placement.networks)
        model_loras = ModelLoras(found, networks.transformer, live=live_loras)
        model_loras.use(read)
    choose_attention(networks.transformer, attention)
    compile_blocks(networks.transformer, compilation)
    text_identity = identity_of_text_encoder(text_encoder)
    # What stays in its files is not quantised.
    of_networks, of_text = (
        "none" if waits is Offload.DISK else quantization
        for waits in (placement.networks, placement.text_encoder)
    )
    computation = Computation(
        dtype=str(number).removeprefix("torch."),
        quantization=of_networks,
        text_quantization=of_text,
        attention=attention,
        compilation=compilation,
        live_loras=live_loras or placement.networks is Offload.DISK,
    )
    return Pipeline(
        networks,
        lambda: _load_text_path(networks, text_encoder, storage, placement.text_encoder),
        name=found.name,
        profile=found.profile,
        fingerprint=found.file.fingerprint,
        device=place,
        digest=found.file.digest,
        loras=model_loras,
        refining=find_refining(found, refiner),
        remembered=None
        if prompt_cache is None or num_parameters < SMALL_MODEL_PARAMETERS
        else PromptCache(
            prompt_cache,
            identity_of(
                found.file,
                text_identity,
                dtype=computation.dtype,
                quantization=of_text,
                device=place.type,
            ),
        ),
        text_encoder=text_identity[:DIGEST_CHARACTERS],
        computation=computation,
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
        loras: those of the transformer; None for a pipeline that takes none.
        refining: what upscales and refines; None for a pipeline that cannot.
        remembered: prompts that the text encoder need not read again; None remembers none.
        text_encoder: identifies its weights and tokenizer, for recipes; None if it has no file.
        computation: how the networks compute, for recipes; None if nobody chose.

    Raises:
        CheckpointError: the profile contradicts the networks.
    """

    def __init__(  # noqa: PLR0913 - all that recipes say of it
        self,
        networks: Networks,
        load_text: Callable[[], TextPath],
        *,
        name: str,
        profile: ModelProfile,
        fingerprint: str,
        device: torch.device | str,
        digest: str | None = None,
        loras: ModelLoras | None = None,
        refining: Refining | None = None,
        remembered: PromptCache | None = None,
        text_encoder: str | None = None,
        computation: Computation | None = None,
    ) -> None:
        _check_profile(profile, networks)
        self.networks = networks
        self.name = name
        self.profile = profile
        self.fingerprint = fingerprint
        self.digest = digest
        self._loras = loras
        self._remembered = remembered
        self._text_encoder = text_encoder
        self._computation = computation
        self._refining = refining or Refining(name, ())
        self.device = torch.device(device)
        self._load_text = load_text
        self._text: TextPath | None = None
        self._keeps_text = is_small(networks.transformer)
        self._context = lru_cache(REMEMBERED_PROMPTS)(self._encode)
        self._preview_plan = PreviewPlan()

    @property
    def loras(self) -> tuple[AppliedLora, ...]:
        """What clips are made with, for recipes."""
        return () if self._loras is None else self._loras.applied

    @property
    def computation(self) -> Computation | None:
        """How clips are computed, for recipes; None if nobody chose."""
        chosen = self._computation
        if chosen is None or self.loras:
            return chosen
        return chosen.model_copy(update={"live_loras": False})  # there are none

    def use_loras(self, loras: Sequence[Lora]) -> None:
        """Exchanges the LoRAs, while everything else stays loaded.

        Raises:
            CheckpointError: one is not there, damaged, or does not fit; none is on then.
            RequestError: a strength is not a number, or this pipeline takes none.
        """
        if self._loras is None:
            raise RequestError(
                f"The model {self.name} was loaded without a file to change.",
                next_step="Load it by its name or path.",
            )
        self._loras.choose(LoraChoice(*choice) for choice in loras)

    @torch.inference_mode()
    def __call__(
        self,
        request: Request,
        *,
        inputs: Inputs | None = None,
        on_progress: OnProgress = ignore_progress,
        should_cancel: ShouldCancel = never_cancel,
        on_preview: OnPreview | None = None,
    ) -> Clip:
        """The clip that was asked for; the same request gives the same clip on one machine.

        Args:
            request: what to make.
            inputs: where the files lie that it is made from.
            on_progress: told about stages and steps.
            should_cancel: asked between them.
            on_preview: shown what the clip looks and sounds like so far, which takes a part of
                the time.

        Raises:
            RequestError: the model cannot make this, or a file is not there.
            MediaError: a file cannot be read.
            GenerationCancelled: `should_cancel` said so; it is asked between steps and stages.
            GenerationError: the networks' values are not finite.
            ResourceError: there is too little memory.
        """
        request = request.resolve(self.profile)
        with memory_explained(_cheaper(request, self.profile)):
            watch = _Watch(on_progress, should_cancel)
            return self._make(request, inputs or Inputs(), watch, on_preview)

    def _make(
        self, request: Request, inputs: Inputs, watch: "_Watch", on_preview: OnPreview | None
    ) -> Clip:
        networks = self.networks
        compression = networks.video_vae.compression
        guidance = self._guidance(request)
        self._refining.require(request.upscale)
        with watch.stage("encode prompt"), memory_reused(self.device):
            contexts = self._contexts(request, guidance)
        with watch.stage("read files") if request.input_files else nullcontext():
            canvas = draw_canvas(
                request,
                self.profile,
                inputs,
                compression=compression,
                sample_rate=networks.vocoder.sample_rate,
            )
            given = read_given(request, inputs, canvas)
        generator = torch.Generator("cpu").manual_seed(request.seed)
        for start, stop in self._windows(request, canvas):
            part = given.window(start, stop)
            made = self._make_part(request, part, contexts, generator, watch, on_preview)
            part.canvas.add(made)
        assert request.frame_rate is not None
        return Clip(
            canvas.frames,
            canvas.waveform,
            frame_rate=request.frame_rate,
            sample_rate=canvas.sample_rate,
            recipe=Recipe(
                software=f"ltx2 {__version__}",
                model=self.name,
                fingerprint=self.fingerprint,
                digest=self.digest,
                loras=self.loras,
                refiner=self._refining.applied(request.upscale),
                text_encoder=self._text_encoder,
                computation=self.computation,
                request=request,
            ),
        )

    def _make_part(
        self,
        request: Request,
        given: Given,
        contexts: Mapping[Pass, Joint[Tensor]],
        generator: torch.Generator,
        watch: "_Watch",
        on_preview: OnPreview | None,
    ) -> Clip:
        """One part of the clip, through all stages; what is given is in it as latents show it."""
        networks, canvas = self.networks, given.canvas
        compression = networks.video_vae.compression
        num_frames = len(canvas.frames)
        rate = networks.audio_vae.latents_per_second
        num_audio = num_audio_latents(num_frames, canvas.frame_rate, rate)
        before: Joint[Tensor] | None = None
        grid: Grid = (0, 0, 0)
        stages = stages_of(
            request,
            self.profile,
            num_frames,
            compression,
            refines_in_few_steps=self.profile.sigmas is not None or self._refining.has_lora,
        )
        for stage in stages:
            if before is not None:
                with watch.stage(f"enlarge {stage.upscaled}"):
                    before = self._upscaled(before, grid, stage)
            grid = compression.latent_grid(stage.num_frames, stage.height, stage.width)
            states = initial_states(networks, grid, num_audio, frame_rate=stage.frame_rate)
            states = _present(states, request)
            states = begin(networks, states, stage, given, grid, before)
            noise = draw_noise(states, generator)
            states = Joint(
                *(
                    state.noised(noisy, stage.sigmas[0])
                    for state, noisy in zip(states, noise, strict=True)
                )
            )
            show = self._previews(grid, stage, request, on_preview)
            name = "denoise" if before is None else "refine"
            with (
                watch.stage(name, total=len(stage.sigmas) - 1) as count,
                self._transformer(request, stage) as transformer,
                memory_reused(self.device),
            ):
                states = sample(
                    transformer,
                    states,
                    stage.sigmas,
                    contexts=contexts,
                    guidance=stage.guidance,
                    sampler=make_sampler(request.sampler, seed=request.seed),
                    limits=None if before is None else self._limits(),
                    on_step=_both(count, show),
                    should_cancel=watch.should_cancel,
                )
            before = Joint(states.video.tokens[:, : math.prod(grid)], states.audio.tokens)
        assert before is not None
        frames = np.zeros((0, *canvas.frames.shape[1:]), np.uint8)
        waveform = np.zeros((2, 0), np.float32)
        with self._preview_plan.measured():
            if canvas.free_video.any():
                with watch.stage("decode video"):
                    frames = self._frames(before.video, grid, generator)
            if canvas.free_audio.any():
                with watch.stage("decode audio"):
                    waveform = self._waveform(before.audio, num_frames, canvas.frame_rate)
        return Clip(frames, waveform, canvas.frame_rate, networks.vocoder.sample_rate)

    def differences_from(self, recipe: Recipe) -> tuple[str, ...]:
        """Why a clip of this pipeline would not be that of `recipe`; empty if it would.

        One sentence about the model and its weights, one about each of the text encoder, the LoRAs
        and how it computes. An older recipe knows less of them.
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
        if changes_of(recipe.loras) != changes_of(self.loras):
            differences.append(
                f"The recipe was made with {listed(recipe.loras)}, this has {listed(self.loras)}."
            )
        refiners = [one for one in (recipe.refiner,) if one is not None]
        own = self._refining.applied(recipe.request.upscale)
        here = [one for one in (own,) if one is not None]
        says_refiner = bool(refiners) or recipe.computation is not None  # which are as old
        if says_refiner and changes_of(refiners) != changes_of(here):
            differences.append(
                f"The recipe was refined with {listed(refiners)}, this refines with {listed(here)}."
            )
        if recipe.text_encoder not in (None, self._text_encoder):
            differences.append("The recipe was made with another text encoder or tokenizer.")
        if recipe.computation not in (None, self.computation):
            differences.append(
                f"The recipe was computed with {recipe.computation}, this computes with "
                f"{self.computation or 'what is usual'}."
            )
        return tuple(differences)

    def _frames(
        self, tokens: Tensor, grid: Grid, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """Pictures [F, H, W, 3] of video tokens."""
        return decode_frames(self.networks, unpatchify_video(tokens, grid), generator)

    def _waveform(self, tokens: Tensor, num_frames: int, frame_rate: float) -> np.ndarray:
        """Sound [2, S] of audio tokens, as long as the pictures."""
        latents = unpatchify_audio(tokens, self.networks.audio_vae.latent_bins)
        waveform = finite(decode_audio(self.networks, latents))[0]
        rate = self.networks.vocoder.sample_rate
        return _fit(waveform, num_samples(num_frames, frame_rate, rate))

    def _contexts(
        self, request: Request, guidance: Joint[Guidance]
    ) -> Mapping[Pass, Joint[Tensor]]:
        """What the prompts say, for every pass that reads one."""
        contexts = {Pass.CONDITIONAL: self._context(request.prompt)}
        if Pass.NEGATIVE in needed_passes(guidance):
            contexts[Pass.NEGATIVE] = self._context(request.negative_prompt or "")
        if not self._keeps_text:
            # A large text encoder would take the memory that the other networks work in.
            self._text = None
        return contexts

    def _windows(self, request: Request, canvas: Canvas) -> tuple[tuple[int, int], ...]:
        """Frames [start, stop) of the parts that are made one after another."""
        # A stage that doubles the frame rate begins with every other latent.
        _, every = growth(request.upscale)
        step = self.networks.video_vae.compression.temporal * every
        latents = canvas.free_latents
        free = [latents[0], *(any(latents[i : i + every]) for i in range(1, len(latents), every))]
        if request.window_s is None:
            return ((0, len(canvas.frames)),)
        assert request.frame_rate is not None
        assert request.overlap_s is not None
        window = max(2, math.floor((request.window_s * request.frame_rate - 1) / step) + 1)
        overlap = max(1, round(request.overlap_s * request.frame_rate / step))
        pieces = plan_windows(free, window=window, overlap=min(overlap, window - 1))
        return tuple((start * step, (stop - 1) * step + 1) for start, stop in pieces)

    def _upscaled(self, tokens: Joint[Tensor], grid: Grid, stage: Stage) -> Joint[Tensor]:
        """Tokens of both modalities at the size or frame rate of the next stage."""
        assert stage.upscaled is not None
        vae = self.networks.video_vae
        weights = self.networks.transformer.patchify_proj.weight
        upsampler = self._refining.upsampler(stage.upscaled, weights)
        latents = vae.denormalise(unpatchify_video(tokens.video, grid))
        larger = vae.normalise(upsampler(latents.to(weights)).to(tokens.video))
        return Joint(patchify_video(larger), tokens.audio)

    @contextmanager
    def _transformer(self, request: Request, stage: Stage) -> Iterator[Transformer]:
        """The transformer of a stage, as the request wants it to modulate."""
        own = self.networks.transformer
        usual = own.config
        if request.cross_timestep is not None:
            choice = CrossTimestep(request.cross_timestep)
            own.config = replace(usual, cross_timestep=choice)
        try:
            if stage.upscaled is None:
                yield own
            else:
                with self._refining.refined(own):
                    yield own
        finally:
            own.config = usual

    def _limits(self) -> TileLimits:
        """What a refining pass sees at once."""
        side, seconds = self.profile.refine_side, self.profile.trained_duration_s
        return TileLimits(side, side / 4, seconds, seconds / 4)

    def _previews(
        self, grid: Grid, stage: Stage, request: Request, on_preview: OnPreview | None
    ) -> OnStep:
        """Shows the clip as it is after a step: all of it where time allows, else one picture."""
        plan = self._preview_plan.start(num_voxels=math.prod(grid))
        if on_preview is None or request.makes == "audio":
            return lambda _: None

        def show(step: Step) -> None:
            if step.index == step.total:
                return  # the clip itself comes next
            waveform: np.ndarray | None = None
            if plan.affords_all():
                with plan.measured(), plan.spent():
                    frames = self._frames(step.denoised.video, grid)
                    if request.makes == "both":
                        waveform = self._waveform(
                            step.denoised.audio, len(frames), stage.frame_rate
                        )
            else:
                with plan.spent():
                    first = step.denoised.video[:, : grid[1] * grid[2]]
                    frames = self._frames(first, (1, grid[1], grid[2]))
            rate = self.networks.vocoder.sample_rate
            on_preview(Preview(step.index, step.total, frames, stage.frame_rate, waveform, rate))

        return show

    def _encode(self, prompt: str) -> Joint[Tensor]:
        known = None if self._remembered is None else self._remembered.get(prompt)
        if known is not None:
            return Joint(*(context.to(self.device) for context in known))
        if self._text is None:
            with memory_explained("Load the model on the CPU, or use a smaller text encoder."):
                self._text = self._load_text()
        contexts = self._text.contexts([prompt])
        if self._remembered is not None:
            self._remembered.put(prompt, *contexts)
        return Joint(*contexts)

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


def _present(states: Joint[LatentState], request: Request) -> Joint[LatentState]:
    """States of which a modality that nobody wants has no tokens."""
    video = states.video.part(0) if request.makes == "audio" else states.video
    audio = states.audio.part(0) if request.makes == "video" else states.audio
    return Joint(video, audio)


def _both(*listeners: OnStep) -> OnStep:
    def on_step(step: Step) -> None:
        for listener in listeners:
            listener(step)

    return on_step


def _fit(waveform: Tensor, length: int) -> np.ndarray:
    """Waveform [2, length], cut or followed by silence."""
    fitted = waveform.new_zeros(waveform.shape[0], length)
    kept = min(length, waveform.shape[1])
    fitted[:, :kept] = waveform[:, :kept]
    return fitted.float().cpu().numpy()


class _Storage(NamedTuple):
    """How and where weights are kept and computed with."""

    dtype: torch.dtype
    device: torch.device
    quantization: EightBits | None


def _load_networks(found: FoundModel, storage: _Storage, offload: Offload) -> Networks:
    """Networks on the device or visiting it."""
    dtype, device, quantization = storage
    home = "cpu" if offload is Offload.CPU else device
    stays = visits if offload is Offload.DISK else stay_nowhere
    networks = load_networks(
        found.file, dtype=dtype, device=home, quantization=quantization, stays=stays
    )
    if offload is not Offload.NONE:
        stream_networks(networks, device, found.file)
    return networks


def _load_text_path(
    networks: Networks,
    path: Path,
    storage: _Storage,
    offload: Offload = Offload.NONE,
) -> TextPath:
    dtype, device, quantization = storage
    home = device if offload is Offload.NONE else "cpu"
    encoder = load_text_encoder(
        path,
        dtype=dtype,
        device=home,
        quantization=quantization,
        stays=offload is Offload.DISK,
    )
    if offload is not Offload.NONE:
        stream_text_encoder(encoder, device, path)
    width = encoder.model.config.hidden_size * encoder.num_states
    expected = networks.projection.in_features
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
