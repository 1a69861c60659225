"""Run by torchrun: what two processes make together, against what each of them makes alone.

Writes what differs into a JSON file, the first process for both.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

import ltx2
from ltx2.__main__ import app
from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import Transformer
from ltx2.runtime.parallel import joined, share_tokens
from tests.tiny_checkpoint import tiny_config, tiny_inputs

REQUEST = ltx2.Request(
    prompt="a ball",
    width=48,
    height=80,
    num_frames=17,
    num_steps=2,
    video_guidance=ltx2.Guidance(cfg_scale=2.0, stg_scale=1.0, modality_scale=2.0, stg_blocks=(1,)),
)
"""45 tokens in all, which two processes cannot halve; guided in every way."""


def differences(folder, team):
    torch.manual_seed(0)
    transformer = Transformer(TransformerConfig.from_metadata(tiny_config())).eval()
    for table in (p for n, p in transformer.named_parameters() if "table" in n):
        torch.nn.init.normal_(table)
    video, audio = tiny_inputs(transformer)
    count = video.tokens.shape[1] - 1  # odd
    video = replace(
        video,
        tokens=video.tokens[:, :count],
        timesteps=torch.rand(len(video.tokens), count),
        positions=video.positions[:, :, :count],
    )
    inputs = video, audio
    with torch.inference_mode():
        alone = transformer(*inputs)
        share_tokens(transformer, team)
        together = transformer(*inputs)
    found = {
        name: float((a - b).abs().max() / a.abs().max())
        for name, a, b in zip(("video", "audio"), alone, together, strict=True)
    }
    pipeline = ltx2.load(folder)
    clip = pipeline(REQUEST)
    best = ltx2.best_of(pipeline, REQUEST, 3, brightness, team=team)
    found["best"] = best.recipe.request.seed
    share_tokens(pipeline.networks.transformer, team)
    shared = pipeline(REQUEST)
    found["frames"] = int(abs(clip.frames.astype(int) - shared.frames.astype(int)).max())
    found["waveform"] = float(abs(clip.waveform - shared.waveform).max())
    found["tokens"] = inputs[0].tokens.shape[1]
    return found


def brightness(clip):
    return float(clip.frames.mean())


def main():
    folder, output = map(Path, sys.argv[1:])
    with joined("cpu") as team:
        found = team.all_of(differences(folder, team))
        if team.rank == 0:
            output.with_suffix(".json").write_text(json.dumps(found))
        options = ["--prompt", "a ball", "--output", str(output), "--model", str(folder)]
        app(["generate", *options, "--frames", "9", "--steps", "1"], standalone_mode=False)


if __name__ == "__main__":
    main()
