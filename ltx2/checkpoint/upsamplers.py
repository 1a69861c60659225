"""Latent upsamplers that lie beside a model; only headers are read here."""

import logging

from ltx2.checkpoint.catalog import SUFFIX, FoundModel
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.sources import MAX_FILES, comfyui_root, open_upsampler
from ltx2.errors import CheckpointError
from ltx2.geometry import Enlarging
from ltx2.model.config import UpsamplerConfig

logger = logging.getLogger(__name__)

DIFFUSERS_FOLDER = "latent_upsampler"
"""What a folder of diffusers calls it."""

UPSAMPLER_MARK = "post_upsample_res_blocks."
"""Tensors that only a latent upsampler has."""


COMFYUI_FOLDER = "latent_upscale_models"
"""Where a folder of models laid out like ComfyUI's has them."""


def find_upsamplers(found: FoundModel) -> list[CheckpointFile]:
    """Upsamplers of a model, in the order of their names.

    They lie in its folder, then in that of ComfyUI beside it, then in that of diffusers.
    """
    files = []
    paths = sorted(found.file.path.parent.glob(f"*{SUFFIX}"))
    if (root := comfyui_root(found.file.path)) is not None:
        paths += sorted((root / COMFYUI_FOLDER).rglob(f"*{SUFFIX}"))[:MAX_FILES]
    for path in paths:
        if path == found.file.path or path in found.file.companions:
            continue
        try:
            file = CheckpointFile.open(path)
            if any(name.startswith(UPSAMPLER_MARK) for name in file.tensors):
                UpsamplerConfig.from_metadata(file.config)  # by another factor, for example
                files.append(file)
        except CheckpointError as error:
            logger.warning("a file beside the model is left out: %s", error)
    folder = found.file.path.parent / DIFFUSERS_FOLDER
    if folder.is_dir():
        try:
            file = open_upsampler(folder)
            UpsamplerConfig.from_metadata(file.config)
            files.append(file)
        except CheckpointError as error:
            logger.warning("the upsampler beside the model is left out: %s", error)
    return files


def enlarging_of(file: CheckpointFile) -> Enlarging:
    """What an upsampler enlarges."""
    return UpsamplerConfig.from_metadata(file.config).enlarging
