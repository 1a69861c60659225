"""What a clip costs on a machine: operations, memory by component, what fits, and about how long.

Nothing is loaded or run: everything follows from sizes, by the formulas of `ltx2.runtime.flops`,
`ltx2.runtime.memory` and those here.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from ltx2.checkpoint.catalog import PUBLISHED, find_model
from ltx2.checkpoint.components import COMPONENTS
from ltx2.checkpoint.published import published_config, tensors_of, text_encoder_tensors
from ltx2.checkpoint.reader import TensorInfo
from ltx2.checkpoint.text_encoders import weight_files
from ltx2.diffusion.guidance import needed_passes
from ltx2.errors import CheckpointError, RequestError
from ltx2.generation.codec import SPATIAL_TILE, TEMPORAL_TILE
from ltx2.generation.stages import Stage, stages_of
from ltx2.geometry import AUDIO_LATENTS_PER_SECOND, num_audio_latents
from ltx2.model.video_vae import VideoVAEConfig
from ltx2.model.video_vae.tiling import plan_tiles
from ltx2.request import ModelProfile, Request
from ltx2.runtime.anatomy import ITEM_SIZE, Anatomy, anatomy_of, measure_anatomy
from ltx2.runtime.devices import Device
from ltx2.runtime.flops import Flops, Tokens, decoder_flops, transformer_flops
from ltx2.runtime.memory import (
    Placement,
    fits,
    needed_memory,
    overhead,
    placements,
    waiting_memory,
)
from ltx2.runtime.visitors import Offload

CONTEXT_TOKENS = 1024
"""Of every prompt, padding included."""

ABOUT = 1.05
"""How much longer is as good as equal: whole weights are worth it."""

AS_STORED = "as stored"
EIGHT_BITS = "int8 or fp8"
QUANTISATIONS: Mapping[str, float | None] = {
    "none": None,
    EIGHT_BITS: 1.0,
    "nvfp4 file": 0.5625,
}
"""Bytes of a weight in the transformer's blocks; 4 bits and a scale of 8 for each 16 of them."""


@dataclass(frozen=True)
class Sizes:
    """A model as plans need it.

    Attributes:
        name: of the model.
        profile: its usual settings.
        parameters: weights of each component.
        anatomy: what its memory follows from.
        decoder: architecture of the video decoder.
        file_bytes: of the checkpoint and the text encoder.
        quantisations: how weights may be kept; of a file in fewer bits only as it is.
    """

    name: str
    profile: ModelProfile
    parameters: Mapping[str, int]
    anatomy: Anatomy
    decoder: VideoVAEConfig
    file_bytes: int
    quantisations: tuple[str, ...] = tuple(QUANTISATIONS)


def sizes_of(model: str, *, dtype: str = "auto") -> Sizes:
    """Sizes of a model here, or of a published one that is not here.

    Raises:
        CheckpointError: there is no such model, or its header is damaged.
        RequestError: the dtype is unknown.
    """
    if dtype not in ("auto", *ITEM_SIZE):
        raise RequestError(
            f"The dtype {dtype!r} is unknown.", next_step=f"Choose auto, {', '.join(ITEM_SIZE)}."
        )
    published = {known.name: known for known in PUBLISHED}
    try:
        found = find_model(model)
    except CheckpointError:
        if model not in published:
            raise
        config = published_config(model)
        tensors: Mapping[str, TensorInfo] = tensors_of(config)
        text = list(text_encoder_tensors())
        name, profile = model, published[model].profile
        quantisations = tuple(QUANTISATIONS)
        anatomy: Anatomy | None = measure_anatomy(tensors, config, text, dtype=dtype)
        counts = (info.num_elements for info in (*tensors.values(), *(info for _, info in text)))
        file_bytes = 2 * sum(counts)
    else:
        config, tensors = found.file.config, found.file.tensors
        name, profile = found.name, found.profile
        quantisations = (AS_STORED,) if found.file.quantized else tuple(QUANTISATIONS)
        anatomy = anatomy_of(found, dtype=dtype)
        files = [] if found.text_encoder is None else weight_files(found.text_encoder)
        file_bytes = found.file.size_bytes + sum(path.stat().st_size for path in files)
    if anatomy is None:
        raise CheckpointError(
            f"The headers of {name} do not tell its sizes.",
            next_step="Use an unchanged checkpoint of LTX-2 (19B) or LTX-2.3 (22B).",
        )
    parameters = {
        component.name: sum(info.num_elements for info in component.own(tensors).values())
        for component in COMPONENTS
    }
    parameters["text encoder"] = anatomy.num_text_values
    return Sizes(
        name,
        profile,
        parameters,
        anatomy,
        VideoVAEConfig.from_metadata(config),
        file_bytes=file_bytes,
        quantisations=quantisations,
    )


@dataclass(frozen=True)
class StagePlan:
    """One stage of denoising.

    Attributes:
        width, height, num_frames: of the clip in this stage.
        tokens: of all of it.
        tiles: parts that are predicted one by one; 1 where it is seen at once.
        steps: of denoising.
        passes: of the transformer in each step, for guidance and the sampler.
        flops_per_pass: operations of one pass over all tiles.
        seconds_per_step: about.
    """

    width: int
    height: int
    num_frames: int
    tokens: Tokens
    tiles: int
    steps: int
    passes: int
    flops_per_pass: Flops
    seconds_per_step: float

    @property
    def flops_per_step(self) -> int:
        """Operations of all passes of a step."""
        return self.flops_per_pass.total * self.passes

    @property
    def seconds(self) -> float:
        """Of all steps, about."""
        return self.steps * self.seconds_per_step


@dataclass(frozen=True)
class Choice:
    """A way to run the model.

    Attributes:
        quantisation: one of `QUANTISATIONS`.
        placement: where weights wait.
        memory: bytes by what they are for; not all at the same moment.
        needed: bytes of the device at most at once.
        fits: whether that is there, with a margin.
    """

    quantisation: str
    placement: Placement
    memory: Mapping[str, int] = field(hash=False)
    needed: int
    fits: bool


@dataclass(frozen=True)
class Plan:
    """What a clip costs on a machine.

    Attributes:
        sizes: of the model.
        request: the clip, resolved.
        device: the machine.
        stages: of denoising, in order; of one part of a long clip.
        parts: that a long clip is made in.
        decode_flops: operations of decoding, in tiles where it is.
        choices: all ways to run it, from the one that changes the least.
        chosen: of those that fit and are about as fast as the fastest, the one that changes the
            least; None if none fits.
        load_s, text_s, decode_s: seconds beside denoising, about.
    """

    sizes: Sizes
    request: Request
    device: Device
    stages: tuple[StagePlan, ...]
    parts: int
    decode_flops: int
    choices: tuple[Choice, ...]
    chosen: Choice | None
    load_s: float
    text_s: float
    decode_s: float

    @property
    def seconds(self) -> float:
        """Of the whole clip, with loading, about."""
        denoising = sum(stage.seconds for stage in self.stages)
        return self.load_s + self.text_s + self.parts * denoising + self.decode_s

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        request = self.request
        return {
            "model": self.sizes.name,
            "device": asdict(self.device),
            "clip": {
                "width": request.width,
                "height": request.height,
                "num_frames": request.num_frames,
                "frame_rate": request.frame_rate,
                "upscale": list(request.upscale),
                "parts": self.parts,
            },
            "parameters": dict(self.sizes.parameters),
            "stages": [
                {
                    **asdict(stage),
                    "flops_per_step": stage.flops_per_step,
                    "seconds": stage.seconds,
                }
                for stage in self.stages
            ],
            "decode_flops": self.decode_flops,
            "choices": [_choice_to_json(choice) for choice in self.choices],
            "chosen": None if self.chosen is None else _choice_to_json(self.chosen),
            "seconds": {
                "load": self.load_s,
                "text": self.text_s,
                "denoise": self.parts * sum(stage.seconds for stage in self.stages),
                "decode": self.decode_s,
                "all": self.seconds,
            },
        }


def plan_clip(request: Request, sizes: Sizes, device: Device) -> Plan:
    """What a clip costs on a machine.

    Seconds of a step are operations over the rates of the device, or, where weights are fetched
    for every pass, the longer of that and bytes over the link or the disk. Decoding is taken to
    reach half the rate of products with weights. Loading is bytes of the files over the disk, the
    text encoder's included, which large models load for each new prompt.

    Raises:
        RequestError: the model cannot make it.
    """
    resolved = request.resolve(sizes.profile)
    part_frames, parts = _parts(resolved)
    walks = stages_of(
        resolved,
        sizes.profile,
        part_frames,
        sizes.anatomy.compression,
        refines_in_few_steps=True,
    )

    def stages_in(choice: Choice) -> tuple[StagePlan, ...]:
        fetched_s = _fetch_seconds(choice, sizes.anatomy, device)
        return tuple(_stage_plan(walk, resolved, sizes, device, fetched_s) for walk in walks)

    choices = tuple(_choices(resolved, sizes, device))
    taken = {c: sum(s.seconds for s in stages_in(c)) for c in choices if c.fits}
    most_s = ABOUT * min(taken.values(), default=0.0)
    chosen = next((choice for choice, seconds in taken.items() if seconds <= most_s), None)
    stages = stages_in(chosen or choices[-1])
    decode_flops = _decode_flops(resolved, sizes, part_frames) * parts
    text_flops = 2 * sizes.anatomy.num_text_values * CONTEXT_TOKENS
    return Plan(
        sizes,
        resolved,
        device,
        stages,
        parts,
        decode_flops,
        choices,
        chosen,
        load_s=sizes.file_bytes / device.disk,
        text_s=2 * text_flops / device.linear,
        decode_s=decode_flops / (0.5 * device.linear),
    )


def _parts(resolved: Request) -> tuple[int, int]:
    """Frames of the largest part that a clip is made in, and how many parts there are."""
    assert resolved.num_frames is not None
    assert resolved.frame_rate is not None
    if resolved.window_s is None:
        return resolved.num_frames, 1
    window = min(resolved.num_frames, round(resolved.window_s * resolved.frame_rate))
    overlap = round((resolved.overlap_s or 0.0) * resolved.frame_rate)
    if window == resolved.num_frames or window <= overlap:
        return resolved.num_frames, 1
    return window, math.ceil((resolved.num_frames - overlap) / (window - overlap))


def _stage_plan(
    stage: Stage, resolved: Request, sizes: Sizes, device: Device, fetched_s: float
) -> StagePlan:
    compression = sizes.anatomy.compression
    grid = compression.latent_grid(stage.num_frames, stage.height, stage.width)
    audio = num_audio_latents(stage.num_frames, stage.frame_rate, AUDIO_LATENTS_PER_SECOND)
    tokens = Tokens(
        0 if resolved.makes == "audio" else math.prod(grid),
        0 if resolved.makes == "video" else audio,
        CONTEXT_TOKENS,
    )
    tiles, of_tile = 1, tokens
    if stage.upscaled is not None:
        side, seconds = sizes.profile.refine_side, sizes.profile.trained_duration_s
        duration_s = stage.num_frames / stage.frame_rate
        shares = [
            _cover(length, limit, limit / 4)
            for length, limit in ((duration_s, seconds), (stage.height, side), (stage.width, side))
        ]
        tiles = math.prod(count for count, _ in shares)
        of_tile = Tokens(
            math.ceil(tokens.video * math.prod(share for _, share in shares)),
            math.ceil(tokens.audio * shares[0][1]),
            tokens.text,
        )
    flops = transformer_flops(sizes.anatomy.transformer, of_tile) * tiles
    passes = len(needed_passes(stage.guidance)) * (2 if resolved.sampler == "res_2s" else 1)
    computed_s = flops.linear / device.linear + flops.attention / device.attention
    return StagePlan(
        stage.width,
        stage.height,
        stage.num_frames,
        tokens,
        tiles,
        len(stage.sigmas) - 1,
        passes,
        flops,
        seconds_per_step=passes * max(computed_s, tiles * fetched_s),
    )


def _cover(length: float, limit: float, overlap: float) -> tuple[int, float]:
    """Tiles along an axis, and the share of it that one takes; as `ltx2.diffusion.tiles` does."""
    if length <= limit:
        return 1, 1.0
    return math.ceil((length - overlap) / (limit - overlap)), limit / length


def _decode_flops(resolved: Request, sizes: Sizes, num_frames: int) -> int:
    """Operations of decoding, each tile of a large clip with its overlaps."""
    assert resolved.height is not None
    assert resolved.width is not None
    if resolved.makes == "audio":
        return 0
    compression = sizes.anatomy.compression
    grid = compression.latent_grid(num_frames, resolved.height, resolved.width)
    side = SPATIAL_TILE.size // compression.spatial
    if math.prod(grid) <= TEMPORAL_TILE.size // compression.temporal * side**2:
        return decoder_flops(sizes.decoder, grid)
    tiles = plan_tiles(grid, compression, spatial=SPATIAL_TILE, temporal=TEMPORAL_TILE)
    return sum(
        decoder_flops(
            sizes.decoder,
            (time.stop - time.start, row.stop - row.start, column.stop - column.start),
        )
        for time in tiles.time
        for row in tiles.height
        for column in tiles.width
    )


def _choices(resolved: Request, sizes: Sizes, device: Device) -> Iterator[Choice]:
    """Whole weights, wherever they wait, before fewer bits.

    What waits in files stays as they have it, so that 8 bits on loading change nothing there.
    """
    placed = placements("auto", is_cuda=device.is_cuda)
    for name, placement in product(sizes.quantisations, placed):
        if name == EIGHT_BITS and placement.networks is Offload.DISK:
            continue
        anatomy = _quantised(sizes.anatomy, name)
        yield Choice(
            name,
            placement,
            _memory(resolved, anatomy, device, placement),
            needed_memory(resolved, anatomy, device.place, placement),
            fits(resolved, anatomy, device.place, placement),
        )


def _quantised(anatomy: Anatomy, name: str) -> Anatomy:
    """A model with the weights of its blocks in fewer bits; 8 bits do for the text encoder too."""
    num_text = anatomy.num_text_values
    if name == EIGHT_BITS and anatomy.visits is not None:
        num_text -= max(0, num_text - anatomy.visits.text) // 2  # all but the embedding
    return replace(anatomy, block_item=QUANTISATIONS.get(name), num_text_values=num_text)


def _memory(
    resolved: Request, anatomy: Anatomy, device: Device, placement: Placement
) -> dict[str, int]:
    """Bytes by what they are for; the text encoder is gone before denoising begins."""
    assert resolved.num_frames is not None
    assert resolved.height is not None
    assert resolved.width is not None
    assert resolved.frame_rate is not None
    is_here = placement.networks is Offload.NONE
    text = placement.text_encoder is Offload.NONE
    size = resolved.num_frames, resolved.height, resolved.width
    rest = needed_memory(resolved, replace(anatomy, num_text_values=0), device.place, placement)
    there = anatomy.weights - (0 if is_here else anatomy.visiting) + overhead(device.place)
    return {
        "weights that stay": anatomy.weights - (0 if is_here else anatomy.visiting),
        "blocks that visit": 0 if is_here else anatomy.visiting_blocks,
        "text encoder, before the rest": anatomy.text_encoder if text else anatomy.visiting_text,
        "denoising or decoding": rest - there,
        "decoding alone": anatomy.decoding(*size),
        "libraries": overhead(device.place),
        "main memory": waiting_memory(anatomy, placement),
    }


def _fetch_seconds(choice: Choice, anatomy: Anatomy, device: Device) -> float:
    """Seconds of bringing all blocks to the device, once for each pass."""
    anatomy = _quantised(anatomy, choice.quantisation)
    num_blocks = anatomy.transformer.num_layers
    num_bytes = num_blocks * anatomy.visiting_blocks / 2
    if choice.placement.networks is Offload.CPU:
        return num_bytes / device.link
    return num_bytes / min(device.disk, device.link) if _is_on_disk(choice) else 0.0


def _is_on_disk(choice: Choice) -> bool:
    return choice.placement.networks is Offload.DISK


def _choice_to_json(choice: Choice) -> dict[str, Any]:
    return {
        "quantisation": choice.quantisation,
        "offload": choice.placement.networks.value,
        "text_encoder_offload": choice.placement.text_encoder.value,
        "memory": dict(choice.memory),
        "needed": choice.needed,
        "fits": choice.fits,
    }
