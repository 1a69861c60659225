"""Whole clips from recorded token ids and noise, through the functions that the pipeline uses."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ltx2.checkpoint.loader import Networks, load_networks, load_upsampler
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.diffusion.conditioning import append_keyframe, replace_frames
from ltx2.diffusion.denoise import Step
from ltx2.diffusion.guidance import Pass
from ltx2.diffusion.state import (
    Grid,
    Joint,
    LatentState,
    patchify_audio,
    patchify_video,
    unpatchify_audio,
    unpatchify_video,
)
from ltx2.generation.codec import decode_audio, decode_video
from ltx2.generation.sampling import sample
from ltx2.generation.states import initial_states
from ltx2.media.frames import to_uint8_frames
from ltx2.model.config import CrossTimestep
from ltx2.model.text import TextPath
from ltx2.model.text.encoder import TextEncoder, load_text_model
from ltx2.request import Guidance
from tests.parity.result import Result, compare

COMPONENTS: tuple[str, ...] = ("e2e",)

Tensors = dict[str, Tensor]
Contexts = Mapping[Pass, Joint[Tensor]]
Named = dict[str, Tensor]

CFG_SCALES = {"t2v_cfg": 4.0, "i2v_cfg": 3.0, "keyframes": 1.0}
"""Guidance of the cases whose facts do not state it."""
CROSS_TIMESTEPS = {
    "out_own_timestep": CrossTimestep.OWN,
    "out_cross_sigma_everywhere": CrossTimestep.OTHER,
}
KEYFRAME_AT = 16
FIRST_FRAME_STRENGTH, KEYFRAME_STRENGTH = 0.9, 0.7
"""Of the case `keyframes`, which states them only in words."""


@dataclass(frozen=True)
class Stage:
    """One walk through sigmas, with everything recorded on the way."""

    states: Joint[LatentState]
    steps: Named
    grid: Grid
    bins: int

    @property
    def latents(self) -> Joint[Tensor]:
        """Normalised latents at the end."""
        return Joint(
            unpatchify_video(self.states.video.tokens, self.grid),
            unpatchify_audio(self.states.audio.tokens, self.bins),
        )


@torch.no_grad()
def run(folder: Path) -> Iterator[Result]:
    """Every case of `folder`."""
    tensors = load_file(folder / "io.safetensors")
    cases = json.loads((folder / "case.json").read_text())["cases"]
    file = CheckpointFile.open(folder / "weights.safetensors")
    networks = load_networks(file, dtype=torch.float32, device="cpu")
    text = {k.removeprefix("text/"): v for k, v in tensors.items() if k.startswith("text/")}
    contexts, actual_text = _contexts(networks, folder / "gemma", text)
    for name, value in actual_text.items():
        yield compare("e2e", "text", name, value, text[name])
    for case, facts in cases.items():
        own = {
            k.removeprefix(f"{case}/"): v for k, v in tensors.items() if k.startswith(f"{case}/")
        }
        if case == "text":
            continue
        if case == "two_stage_distilled":
            actual = _two_stages(networks, contexts, own, folder, facts)
        else:
            actual = _one_stage(networks, contexts, own, case, facts)
        for name, value in actual.items():
            if name in own:
                yield from _compared(case, name, value, own[name], facts)


def _compared(
    case: str, name: str, actual: Tensor, expected: Tensor, facts: dict[str, Any]
) -> Iterator[Result]:
    if name.startswith("out/video") and name != "out/video_latent":
        # Single pixels may be further off than the whole; both bounds are part of the case.
        bounds = facts["tolerance_video"]
        yield compare("e2e", case, name, actual, expected, atol=bounds["max_abs"], rtol=0.0)
        mean = (actual - expected).abs().mean()
        label, limit = f"{name} (mean error)", bounds["mean_abs"]
        yield compare("e2e", case, label, mean, torch.zeros_like(mean), atol=limit, rtol=0.0)
    elif name == "out/frames_uint8":
        yield compare("e2e", case, name, actual.int(), expected.int(), atol=1.0, rtol=0.0)
    else:
        tolerances = {key: facts[key] for key in ("atol", "rtol") if key in facts}
        yield compare("e2e", case, name, actual, expected, **tolerances)


def _contexts(networks: Networks, gemma: Path, text: Tensors) -> tuple[Contexts, Named]:
    ids = text["in/input_ids"]
    encoder = TextEncoder(load_text_model(gemma, torch.float32), None, ids.shape[1])
    path = TextPath(
        encoder, networks.projection, networks.video_connector, networks.audio_connector
    )
    contexts, named = {}, {}
    for kind, prefix in ((Pass.CONDITIONAL, ""), (Pass.NEGATIVE, "negative_")):
        encoded = encoder(text[f"in/{prefix}input_ids"], text[f"in/{prefix}attention_mask"])
        contexts[kind] = Joint(*path.connect(encoded))
        named[f"out/{prefix}video_context"] = contexts[kind].video
        named[f"out/{prefix}audio_context"] = contexts[kind].audio
    return contexts, named


def _one_stage(
    networks: Networks, contexts: Contexts, tensors: Tensors, case: str, facts: dict[str, Any]
) -> Named:
    grid, states = _states(networks, facts, tensors["in/video_noise"])
    noise = Joint(
        patchify_video(tensors["in/video_noise"]), patchify_audio(tensors["in/audio_noise"])
    )
    actual: Named = {}
    frame_rate = facts["geometry"]["fps"]
    if "in/image" in tensors:
        image = networks.video_vae.encode(tensors["in/image"])
        actual["mid/image_latent"] = image
        states = Joint(replace_frames(states.video, image, grid, index=0), states.audio)
    if "in/keyframe_latent" in tensors:
        if case != "keyframes":
            raise ValueError(f"The place and strengths of keyframes in {case!r} are unknown.")
        first, keyframe = tensors["in/first_frame_latent"], tensors["in/keyframe_latent"]
        video = replace_frames(states.video, first, grid, index=0, strength=FIRST_FRAME_STRENGTH)
        video = append_keyframe(
            video,
            keyframe,
            pixel_frame=KEYFRAME_AT,
            compression=networks.video_vae.compression,
            frame_rate=frame_rate,
            strength=KEYFRAME_STRENGTH,
        )
        states = Joint(video, states.audio)
        both = torch.cat([noise.video, tensors["in/keyframe_noise_tokens"]], dim=1)
        noise = Joint(both, noise.audio)
    states = Joint(states.video.noised(noise.video), states.audio.noised(noise.audio))
    guidance = _guidance(case, facts)

    def walk() -> Stage:
        sigmas = tensors["in/sigmas"].tolist()
        return _walk(networks, states, sigmas, contexts, guidance, grid)

    stage = walk()
    actual |= {f"mid/{name}": value for name, value in stage.steps.items()}
    actual |= _decoded(networks, stage)
    for variant, cross_timestep in CROSS_TIMESTEPS.items():
        if f"{variant}/video_latent" in tensors:
            networks.transformer.config, usual = (
                _with(networks, cross_timestep),
                networks.transformer.config,
            )
            latents = walk().latents
            networks.transformer.config = usual
            actual[f"{variant}/video_latent"] = latents.video
            actual[f"{variant}/audio_latent"] = latents.audio
    if "out_drop/video_latent" in tensors:
        hook = networks.transformer.register_forward_pre_hook(_drop_self_attention)
        latents = walk().latents
        hook.remove()
        actual["out_drop/video_latent"] = latents.video
        actual["out_drop/audio_latent"] = latents.audio
    return actual


def _drop_self_attention(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A perturbed self-attention adds nothing, as in the first release."""
    video, audio, perturbations = inputs
    return video, audio, replace(perturbations, drop_self_attention=True)


def _two_stages(
    networks: Networks,
    contexts: Contexts,
    tensors: Tensors,
    folder: Path,
    facts: dict[str, Any],
) -> Named:
    """A small clip, its latents upsampled, noised again in part and refined."""
    guidance = Joint(Guidance(), Guidance())
    upsampler_file = CheckpointFile.open(folder / "spatial_upscaler_x2.safetensors")
    upsampler = load_upsampler(upsampler_file, dtype=torch.float32, device="cpu")
    vae = networks.video_vae
    actual: Named = {}
    latents: Joint[Tensor] | None = None
    stages = []
    for number in ("stage1", "stage2"):
        grid, states = _states(networks, facts, tensors[f"in/{number}_video_noise"])
        sigmas = tensors[f"in/{number}_sigmas"].tolist()
        if latents is not None:
            upsampled = vae.normalise(upsampler(vae.denormalise(latents.video)))
            actual["mid/upsampled_video_latent"] = upsampled
            states = Joint(
                LatentState.to_generate(patchify_video(upsampled), states.video.positions),
                LatentState.to_generate(patchify_audio(latents.audio), states.audio.positions),
            )
        noise = Joint(
            patchify_video(tensors[f"in/{number}_video_noise"]),
            patchify_audio(tensors[f"in/{number}_audio_noise"]),
        )
        states = Joint(
            states.video.noised(noise.video, sigmas[0]),
            states.audio.noised(noise.audio, sigmas[0]),
        )
        stage = _walk(networks, states, sigmas, contexts, guidance, grid)
        latents = stage.latents
        actual |= {f"mid/{number}_{name}": value for name, value in stage.steps.items()}
        actual[f"mid/{number}_video_latent"] = latents.video
        actual[f"mid/{number}_audio_latent"] = latents.audio
        stages.append(stage)
    return actual | _decoded(networks, stages[-1])


def _states(
    networks: Networks, facts: dict[str, Any], video_noise: Tensor
) -> tuple[Grid, Joint[LatentState]]:
    grid = (video_noise.shape[2], video_noise.shape[3], video_noise.shape[4])
    geometry = facts["geometry"]
    return grid, initial_states(networks, grid, geometry["T"], frame_rate=geometry["fps"])


def _guidance(case: str, facts: dict[str, Any]) -> Joint[Guidance]:
    if "guidance" in facts:
        scales = [dict(facts["guidance"][name]) for name in ("video", "audio")]
        for values in scales:
            values["rescale"] = values.pop("rescale_scale", 0.0)
        return Joint(*(Guidance.model_validate(values) for values in scales))
    if case not in CFG_SCALES:
        raise ValueError(f"The guidance of the case {case!r} is unknown; add it to CFG_SCALES.")
    cfg = Guidance(cfg_scale=CFG_SCALES[case])
    return Joint(cfg, cfg)


def _walk(
    networks: Networks,
    states: Joint[LatentState],
    sigmas: list[float],
    contexts: Contexts,
    guidance: Joint[Guidance],
    grid: Grid,
) -> Stage:
    steps: list[Step] = []
    end = sample(
        networks.transformer,
        states,
        sigmas,
        contexts=contexts,
        guidance=guidance,
        on_step=steps.append,
    )
    recorded = {
        "video_steps": [states.video.tokens, *(s.states.video.tokens for s in steps)],
        "audio_steps": [states.audio.tokens, *(s.states.audio.tokens for s in steps)],
        "video_denoised": [s.denoised.video for s in steps],
        "audio_denoised": [s.denoised.audio for s in steps],
    }
    stacked = {name: torch.stack(values) for name, values in recorded.items()}
    return Stage(end, stacked, grid, networks.audio_vae.latent_bins)


def _decoded(networks: Networks, stage: Stage) -> Named:
    latents = stage.latents
    video = decode_video(networks, latents.video)
    return {
        "out/video_latent": latents.video,
        "out/audio_latent": latents.audio,
        "out/video": video,
        "out/video_strided": video[..., ::2, ::2],
        "out/frames_uint8": torch.from_numpy(to_uint8_frames(video[0])),
        "out/mel": networks.audio_vae.decode(latents.audio),
        "out/waveform": decode_audio(networks, latents.audio)[0],
    }


def _with(networks: Networks, cross_timestep: CrossTimestep) -> Any:
    return replace(networks.transformer.config, cross_timestep=cross_timestep)
