"""Mel front end, audio autoencoder and vocoder against recorded tensors."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from einops import rearrange
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ltx2.model.audio_vae import AudioVAE, AudioVAEConfig, MelSpectrogram, resample
from ltx2.model.vocoder import Vocoder, VocoderConfig
from tests.parity.result import Result, compare

COMPONENTS = ("audio_vae", "vocoder")


def _state(weights: Path, prefix: str) -> tuple[dict[str, object], dict[str, Tensor]]:
    with safe_open(weights, "pt") as file:
        config = json.loads(file.metadata()["config"])
    state = {k.removeprefix(prefix): v.float() for k, v in load_file(weights).items()}
    return config, state


@torch.no_grad()
def run(folder: Path) -> Iterator[Result]:
    """All cases of one folder."""
    tensors = load_file(folder / "io.safetensors")
    cases = json.loads((folder / "case.json").read_text())["cases"]
    outputs = _vocoder_outputs if folder.name == "vocoder" else _audio_vae_outputs
    for case in sorted({name.split("/")[0] for name in tensors}):
        facts = cases.get(case, {})
        for name, actual, expected in outputs(folder, case, tensors, facts.get("sample_rate", 0)):
            yield compare(
                folder.name,
                case,
                name,
                actual,
                expected,
                atol=facts.get("atol", 1e-4),
                rtol=facts.get("rtol", 1e-4),
            )


def _vocoder_outputs(
    folder: Path, case: str, tensors: dict[str, Tensor], _: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    config, state = _state(folder / "weights.safetensors", "vocoder.")
    vocoder = Vocoder(VocoderConfig.from_metadata(config)).eval()
    vocoder.load_state_dict(state)
    waveform = vocoder(tensors[f"{case}/in/mel"])
    yield "waveform", waveform, tensors[f"{case}/out/waveform"]


def _audio_vae_outputs(
    folder: Path, case: str, tensors: dict[str, Tensor], sample_rate: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    config, state = _state(folder / "weights.safetensors", "audio_vae.")
    sizes = AudioVAEConfig.from_metadata(config)
    vae = AudioVAE(sizes).eval()
    vae.load_state_dict(state)
    if case == "mel_filterbank":
        expected = tensors[f"{case}/filters"]  # [frequencies, M]
        front_end = MelSpectrogram(replace(sizes, mel_bins=expected.shape[1]))
        yield "filters", front_end.filters.T, expected
        yield "window", front_end.window, tensors[f"{case}/window"]
        return
    inputs = {k.split("/")[-1]: v for k, v in tensors.items() if k.startswith(f"{case}/in/")}
    expected_by_name = {
        k.split("/")[-1]: v for k, v in tensors.items() if k.startswith(f"{case}/out/")
    }
    actual: dict[str, Tensor] = {}
    if case == "patchify":
        actual["tokens"] = rearrange(inputs["latent"], "b c l m -> b l (c m)")
    elif "waveform" in inputs:
        rate = sample_rate or sizes.sample_rate
        bins = expected_by_name["mel"].shape[-1]
        mel = MelSpectrogram(replace(sizes, mel_bins=bins))(inputs["waveform"], rate)
        actual["mel"] = mel
        actual["waveform_16000"] = resample(inputs["waveform"], rate, 16_000)
        if "latent" in expected_by_name:
            actual["latent"] = vae.encode(mel)
    elif "mel" in inputs:
        actual["latent_mean"] = vae.encode_mean(inputs["mel"])
        actual["latent"] = vae.normalise(actual["latent_mean"])
    else:
        actual["mel"] = vae.decode(inputs["latent"])
    for name, expected in expected_by_name.items():
        yield name, actual[name], expected
