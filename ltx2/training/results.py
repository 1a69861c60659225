"""What training leaves behind: checkpoints, LoRAs, and clips that show how it goes."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from ltx2 import __version__
from ltx2.checkpoint.catalog import FoundModel
from ltx2.checkpoint.components import (
    AUDIO_CONNECTOR,
    AUDIO_VAE,
    FEATURE_PROJECTION,
    TRANSFORMER,
    VIDEO_CONNECTOR,
    VIDEO_VAE,
    VOCODER,
)
from ltx2.checkpoint.loader import (
    Networks,
    build_audio_vae,
    build_vocoder,
    load_component,
    projection_builder,
    video_vae_builder,
)
from ltx2.checkpoint.reader import save_checkpoint
from ltx2.checkpoint.text_loader import load_text_encoder
from ltx2.clip import Clip
from ltx2.diffusion.state import Joint
from ltx2.errors import CheckpointError, GenerationCancelled, LTX2Error
from ltx2.files import linked
from ltx2.model.text import Connector, FeatureProjection, TextPath
from ltx2.model.transformer import Transformer
from ltx2.pipeline import Pipeline
from ltx2.progress import ShouldCancel
from ltx2.request import Request
from ltx2.runtime.placement import choose_dtype
from ltx2.training.adapters import Adapters, official_tensors
from ltx2.training.config import TrainConfig, Validation
from ltx2.training.flow import Noised
from ltx2.training.loop import Average

logger = logging.getLogger(__name__)

LORA_FILE = "lora.safetensors"
MODEL_FILE = "model.safetensors"
"""The newest checkpoint in the output folder."""

TRAINABLE = {
    "transformer": TRANSFORMER,
    "video_connector": VIDEO_CONNECTOR,
    "audio_connector": AUDIO_CONNECTOR,
}
"""What may be trained, by its name in `TrainedNetwork`, and where a checkpoint has it."""

Generate = Callable[[Request], Clip]
"""Makes a validation clip with the networks as they are."""

TextFeatures = Mapping[str, tuple[Tensor, Tensor]]
"""Features [1, T_c, D] and mask [1, T_c] by prompt."""


class TrainedNetwork(nn.Module):
    """Connectors and transformer: from text features and noisy tokens to velocities.

    Args:
        trains_connectors: False computes contexts without gradients.
    """

    def __init__(
        self,
        transformer: Transformer,
        connectors: Joint[Connector],
        *,
        trains_connectors: bool,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.video_connector, self.audio_connector = connectors
        self.trains_connectors = trains_connectors

    def forward(
        self, noised: Joint[Noised | None], text_features: Tensor, text_mask: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Velocities [B, T, C] of both modalities; None where one is absent.

        Args:
            noised: tokens and their noise levels.
            text_features: of the feature projection [B, T_c, D].
            text_mask: [B, T_c], 1 for real tokens.
        """
        has_gradients = torch.is_grad_enabled() and self.trains_connectors
        with torch.set_grad_enabled(has_gradients):
            features = text_features.to(self.transformer.dtype)
            contexts = [
                None if part is None else connector(features, text_mask)
                for part, connector in zip(
                    noised, (self.video_connector, self.audio_connector), strict=True
                )
            ]
        video, audio = (
            None if part is None or context is None else part.to_input(context)
            for part, context in zip(noised, contexts, strict=True)
        )
        velocities: tuple[Tensor | None, Tensor | None] = self.transformer(video, audio)
        return velocities


class CheckpointWriter:
    """Writes checkpoints of the averaged weights and keeps the last few.

    Attributes:
        newest: the same file as the last checkpoint, under a name that does not change.
    """

    def __init__(
        self, config: TrainConfig, found: FoundModel, trained: nn.Module, *, is_writer: bool
    ) -> None:
        self.config = config
        self.found = found
        self.trained = trained
        self.is_writer = is_writer
        self.folder = config.output / "checkpoints"
        is_lora = isinstance(trained, Adapters)
        self.newest = config.output / (LORA_FILE if is_lora else MODEL_FILE)

    def __call__(self, step: int, average: Average) -> None:
        """Writes the checkpoint of a step."""
        values = average.named()
        if not self.is_writer:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step_{step:06}.safetensors"
        save_checkpoint(path, self.tensors(values), self.metadata(step))
        linked(path, self.newest)
        for old in sorted(self.folder.glob("step_*.safetensors"))[
            : -self.config.checkpoints.keep_last
        ]:
            old.unlink()
        logger.info("wrote %s", path.name)

    def tensors(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the file holds: a LoRA's pairs, or a whole checkpoint in the types of the base."""
        if isinstance(self.trained, Adapters):
            return official_tensors(self.trained, values)
        tensors = self.found.file.read(self.found.file.tensors)
        for name, value in values.items():
            part, _, own = name.partition(".")
            official = TRAINABLE[part].prefix + own
            tensors[official] = value.to(tensors[official].dtype)
        return tensors

    def metadata(self, step: int) -> dict[str, str]:
        """The base's metadata for a checkpoint, and how it was made. Says nothing of paths."""
        private = {"model", "text_encoder", "data", "output", "validation", "device"}
        base = self.found.file
        recipe = {
            "software": f"ltx2 {__version__}",
            "base": self.found.name,
            "base_fingerprint": base.fingerprint,
            "steps": step,
            "config": self.config.model_dump(mode="json", exclude=private),
        }
        if not isinstance(self.trained, Adapters):
            if "recipe" in base.metadata:
                recipe["base_recipe"] = base.metadata["recipe"]
            return {**base.metadata, "recipe": json.dumps(recipe)}
        metadata = {"format": "pt", "recipe": json.dumps(recipe)}
        if self.config.has_reference:
            factor = self.config.reference_downscale_factor
            metadata["reference_downscale_factor"] = str(factor)
        return metadata


class ValidationClips:
    """Makes the validation clips of a step and saves them as MP4."""

    def __init__(
        self,
        config: TrainConfig,
        validation: Validation,
        generate: Generate,
        *,
        is_writer: bool,
    ) -> None:
        self.requests = validation.requests()
        self.generate = generate
        self.is_writer = is_writer
        self.folder = config.output / "validation"

    def __call__(self, step: int, average: Average) -> None:
        """Makes them with the averaged weights; one that fails does not end the training."""
        folder = self.folder / f"step_{step:06}"
        with average.in_place():
            for index, request in enumerate(self.requests):
                try:
                    clip = self.generate(request)
                    if self.is_writer:
                        folder.mkdir(parents=True, exist_ok=True)
                        clip.save(folder / f"{index:02}.mp4")
                except GenerationCancelled:
                    return
                except LTX2Error as error:
                    logger.warning("validation clip %d of step %d: %s", index, step, error)


@dataclass(frozen=True)
class _KnownPrompts:
    """A text path whose prompts were encoded before; the connectors are the trained ones."""

    features: Mapping[str, tuple[Tensor, Tensor]]
    network: TrainedNetwork

    def contexts(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Video and audio context [B, T_c, D]."""
        device, dtype = self._place()
        features = torch.cat([self.features[prompt][0] for prompt in prompts]).to(device, dtype)
        mask = torch.cat([self.features[prompt][1] for prompt in prompts]).to(device)
        video = self.network.video_connector(features, mask)
        return video, self.network.audio_connector(features, mask)

    def _place(self) -> tuple[torch.device, torch.dtype]:
        first = next(self.network.video_connector.parameters())
        return first.device, first.dtype


class PipelineClips:
    """Validation clips by the normal pipeline; the decoders wait on the CPU in between.

    Args:
        found: the model that training started from.
        network: with the weights as they are.
        texts: features of all prompts that will come.
        device: of the network.
        should_stop: asked between steps and stages of a clip.
    """

    def __init__(
        self,
        found: FoundModel,
        network: TrainedNetwork,
        texts: TextFeatures,
        device: torch.device,
        should_stop: ShouldCancel,
    ) -> None:
        file, dtype = found.file, network.transformer.dtype
        load = partial(load_component, file, device="cpu")
        self.networks = Networks(
            transformer=network.transformer,
            video_connector=network.video_connector,
            audio_connector=network.audio_connector,
            projection=load(FEATURE_PROJECTION, projection_builder(file), dtype=dtype),
            video_vae=load(VIDEO_VAE, video_vae_builder(file), dtype=dtype),
            audio_vae=load(AUDIO_VAE, build_audio_vae, dtype=torch.float32),
            vocoder=load(VOCODER, build_vocoder, dtype=torch.float32),
        )
        self.found = found
        self.text = cast(TextPath, _KnownPrompts(texts, network))
        self.device = device
        self.should_stop = should_stop

    def __call__(self, request: Request) -> Clip:
        """The clip of a request whose prompts are known."""
        # A new one each time: it remembers contexts, and connectors may have been trained.
        pipeline = Pipeline(
            self.networks,
            lambda: self.text,
            name=self.found.name,
            profile=self.found.profile,
            fingerprint=self.found.file.fingerprint,
            device=self.device,
        )
        decoders = (self.networks.video_vae, self.networks.audio_vae, self.networks.vocoder)
        try:
            for decoder in decoders:
                decoder.to(self.device)
            return pipeline(request, should_cancel=self.should_stop)
        finally:
            for decoder in decoders:
                decoder.to("cpu")


def text_features(found: FoundModel, requests: Iterable[Request]) -> TextFeatures:
    """Features of every prompt and negative prompt, computed on the CPU.

    Raises:
        CheckpointError: the model has no text encoder beside it.
        RequestError: a request is outside the model's range.
    """
    if found.text_encoder is None:
        raise CheckpointError(
            f"The model {found.name} has no text encoder beside it, which validation needs.",
            next_step="Give its folder as text_encoder, or remove validation.",
        )
    dtype = choose_dtype(
        "auto", num_parameters=sum(i.num_elements for i in found.file.tensors.values())
    )
    encoder = load_text_encoder(found.text_encoder, dtype=dtype, device="cpu")
    projection = load_component(
        found.file, FEATURE_PROJECTION, projection_builder(found.file), dtype=dtype, device="cpu"
    )
    assert isinstance(projection, FeatureProjection)  # of a version that can be trained
    resolved = [request.resolve(found.profile) for request in requests]
    prompts = {r.prompt for r in resolved} | {r.negative_prompt or "" for r in resolved}
    features = {}
    with torch.no_grad():
        for prompt in sorted(prompts):
            encoded = encoder.encode([prompt])
            features[prompt] = projection(encoded.hidden_states, encoded.mask), encoded.mask
    return features
