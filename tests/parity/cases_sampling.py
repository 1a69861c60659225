"""Schedules, Euler steps, noising, guidance and conditioning against recorded values."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ltx2.checkpoint.catalog import DISTILLED_SIGMAS
from ltx2.diffusion.conditioning import append_keyframe, fit_image, replace_frames
from ltx2.diffusion.denoise import Step, denoise
from ltx2.diffusion.guidance import Pass, guided
from ltx2.diffusion.samplers import euler, gradient_estimation
from ltx2.diffusion.schedules import (
    DISTILLED_STAGE_2_SIGMAS,
    OFFICIAL_SHIFT,
    shift_for_tokens,
    shifted_sigmas,
)
from ltx2.diffusion.state import (
    Grid,
    Joint,
    LatentState,
    patchify_video,
    unpatchify_video,
    video_positions,
)
from ltx2.diffusion.steps import to_denoised
from ltx2.geometry import VideoCompression, num_audio_latents
from ltx2.request import Guidance
from tests.parity.result import Result, compare

COMPONENTS: tuple[str, ...] = ("sampling",)

Tensors = dict[str, Tensor]
Compared = Iterator[tuple[str, Tensor, Tensor]]

GUIDERS = {
    "delta_cfg_guider_4": Guidance(cfg_scale=4.0),
    "delta_stg_guider_1.5": Guidance(stg_scale=1.5, stg_blocks=(0,)),
}
COMPRESSION = VideoCompression(temporal=8, spatial=32)


def run(folder: Path) -> Iterator[Result]:
    """Every case of `folder` that the sampler implements."""
    tensors = load_file(folder / "io.safetensors")
    cases = json.loads((folder / "case.json").read_text())["cases"]
    for case, facts in cases.items():
        own = {
            k.removeprefix(f"{case}/"): v for k, v in tensors.items() if k.startswith(f"{case}/")
        }
        for name, actual, expected in _outputs(case, facts, own):
            yield compare(
                "sampling",
                case,
                name,
                actual,
                expected,
                atol=facts.get("atol", 1e-4),
                rtol=facts.get("rtol", 1e-4),
            )


def _outputs(case: str, facts: dict[str, Any], tensors: Tensors) -> Compared:
    if case == "schedule":
        return _schedules(tensors)
    if case.startswith("euler"):
        return _trajectory(tensors)
    if case.startswith("noising_"):
        return _noising(float(case.removeprefix("noising_")), tensors)
    if case == "guidance":
        return _guidance(facts["combinations"], tensors)
    if case == "image_preprocess":
        return _images(facts["targets"], tensors)
    if case == "geometry":
        return _geometry(facts["rows"])
    if case == "conditioning":
        return _conditioning(tensors)
    return iter(())


def _schedules(tensors: Tensors) -> Compared:
    fixed = {"distilled": DISTILLED_SIGMAS, "distilled_stage_2": DISTILLED_STAGE_2_SIGMAS}
    pattern = re.compile(r"(?:(no_stretch)_|terminal_([\d.]+)_)?(default|\d+)_tokens_(\d+)_steps")
    for name, expected in tensors.items():
        if name in fixed:
            yield name, torch.tensor(fixed[name]), expected
            continue
        match = pattern.fullmatch(name)
        assert match is not None, f"unknown schedule {name}"
        unstretched, terminal, tokens, steps = match.groups()
        shift = OFFICIAL_SHIFT if tokens == "default" else shift_for_tokens(int(tokens))
        last = None if unstretched else float(terminal or 0.1)
        yield name, shifted_sigmas(int(steps), shift=shift, terminal=last), expected


def _trajectory(tensors: Tensors) -> Compared:
    """The loop itself, on the recorded toy network; the audio side is along for the ride."""
    matrix, bias = tensors["in/matrix"], tensors["in/bias"]
    sigmas = tensors["in/sigmas"].tolist()
    state = _toy_state(tensors)
    idle = LatentState.to_generate(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 2))

    def predict(states: Joint[LatentState], sigma: float) -> Joint[Tensor]:
        timesteps = states.video.timesteps(sigma)
        x = states.video.tokens
        velocity = (x @ matrix + bias).tanh() * (0.5 + timesteps[..., None]) + 0.2 * x
        return Joint(to_denoised(x, velocity, timesteps), states.audio.tokens)

    steps: list[Step] = []
    sampler = euler if "out/trajectory" in tensors else gradient_estimation()
    arrived = denoise(Joint(state, idle), sigmas, predict, sampler=sampler, on_step=steps.append)
    if "out/final" in tensors:
        yield "final", arrived.video.tokens, tensors["out/final"]
        return
    trajectory = [state.tokens, *(step.states.video.tokens for step in steps)]
    yield "trajectory", torch.stack(trajectory), tensors["out/trajectory"]
    yield "denoised", torch.stack([s.denoised.video for s in steps]), tensors["out/denoised"]


def _toy_state(tensors: Tensors) -> LatentState:
    start = tensors.get("in/x0", tensors.get("in/noise"))
    assert start is not None
    positions = torch.zeros(1, 3, start.shape[1], 2)
    if "in/x0" in tensors:
        return LatentState.to_generate(start, positions)
    clean, mask = tensors["in/clean"], tensors["in/denoise_mask"]
    return LatentState(clean, clean, mask, positions).noised(start)


def _noising(scale: float, tensors: Tensors) -> Compared:
    latent = tensors["in/latent"]
    state = LatentState(latent, latent, tensors["in/denoise_mask"], torch.empty(0))
    yield "noised", state.noised(tensors["in/noise"], scale).tokens, tensors["out/noised"]


def _guidance(combinations: dict[str, dict[str, float]], tensors: Tensors) -> Compared:
    names = {
        Pass.CONDITIONAL: "cond",
        Pass.NEGATIVE: "uncond",
        Pass.PERTURBED: "perturbed",
        Pass.ISOLATED: "isolated",
    }
    for name, options in combinations.items():
        values = dict(options)
        rescale = values.pop("rescale_scale", 0.0)
        scales = Guidance.model_validate({**values, "rescale": rescale, "stg_blocks": (0,)})
        for batch in ("", "_b2"):
            passes = {kind: tensors[f"in/{key}{batch}"] for kind, key in names.items()}
            yield f"{name}{batch}", guided(passes, scales), tensors[f"out/{name}{batch}"]
    # The single guiders were all recorded on one pair of estimates, whatever the second one means.
    passes = dict.fromkeys(names, tensors["in/uncond"]) | {Pass.CONDITIONAL: tensors["in/cond"]}
    for name, scales in GUIDERS.items():
        delta = guided(passes, scales) - passes[Pass.CONDITIONAL]
        yield name, delta, tensors[f"out/{name}"]


def _images(targets: dict[str, list[int]], tensors: Tensors) -> Compared:
    for name, (height, width) in targets.items():
        video = fit_image(tensors[f"in/{name}"], height=height, width=width)
        yield name, video, tensors[f"out/{name}"]


def _geometry(rows: list[dict[str, Any]]) -> Compared:
    for row in rows:
        grid = COMPRESSION.latent_grid(row["frames"], row["height"], row["width"])
        audio = num_audio_latents(row["frames"], row["fps"], 25.0)
        name = f"{row['frames']} frames at {row['fps']:g}"
        yield (
            name,
            torch.tensor([*grid, audio]),
            torch.tensor([*row["video_latent"][2:], row["audio_latent"][2]]),
        )


def _conditioning(tensors: Tensors) -> Compared:
    image = tensors["in/image_latent"]
    for name in sorted(key.split("/")[2] for key in tensors if key.startswith("in/noise/")):
        expected = {
            k.rsplit("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"out/{name}/")
        }
        noise = tensors[f"in/noise/{name}"]
        state = _conditioned(name, tensors)
        yield f"{name}/clean_latent", state.clean, expected["clean_latent"]
        yield f"{name}/denoise_mask", state.denoise_mask, expected["denoise_mask"]
        yield f"{name}/positions", state.positions, expected["positions"]
        yield f"{name}/noised", state.noised(noise).tokens, expected["noised"]
        eight_frames = f"out_eight_frame_keyframe/{name}/positions"
        if eight_frames in tensors:
            yield eight_frames, _with_whole_span(state.positions, image), tensors[eight_frames]
    tokens = patchify_video(image)
    grid = (image.shape[2], image.shape[3], image.shape[4])
    yield "round trip", unpatchify_video(tokens, grid), image


def _with_whole_span(positions: Tensor, image: Tensor) -> Tensor:
    """The appended keyframe as a latent frame in the middle of a clip, as the first release did."""
    frame: Grid = (1, image.shape[3], image.shape[4])
    span = video_positions(frame, COMPRESSION, CONDITIONING_FRAME_RATE, causal=False)
    appended = positions[:, :, -span.shape[2] :]
    span[:, 0] += appended[:, 0, :, :1]
    return torch.cat([positions[:, :, : -span.shape[2]], span], dim=2)


CONDITIONING_FRAME_RATE = 24.0
CONDITIONING_FRAMES = 3


def _conditioned(name: str, tensors: Tensors) -> LatentState:
    """The state that a case's name describes; one name leaves its numbers to this table."""
    image, keyframe = tensors["in/image_latent"], tensors["in/keyframe_latent"]
    grid: Grid = (CONDITIONING_FRAMES, image.shape[3], image.shape[4])
    tokens = torch.zeros(1, CONDITIONING_FRAMES * grid[1] * grid[2], image.shape[1])
    positions = video_positions(grid, COMPRESSION, CONDITIONING_FRAME_RATE)
    state = LatentState.to_generate(tokens, positions)
    written = re.search(r"strength_([\d.]+)", name)
    strength = float(written[1]) if written else 1.0
    if name == "first_frame_and_keyframe":
        state = replace_frames(state, image, grid, index=0)
        frame, strength = 8, 0.5
    elif match := re.match(r"keyframe_at_(\d+)", name):
        frame = int(match[1])
    else:
        match = re.match(r"latent_index_(\d+)", name)
        index = int(match[1]) if match else 0
        return replace_frames(state, image, grid, index=index, strength=strength)
    return append_keyframe(
        state,
        tensors["in/keyframe_latent_2"] if name.endswith("two_latents") else keyframe,
        pixel_frame=frame,
        compression=COMPRESSION,
        frame_rate=CONDITIONING_FRAME_RATE,
        strength=strength,
    )
