"""Latent upsamplers that lie beside a model; only headers are read here."""

import logging

from ltx2.checkpoint.catalog import SUFFIX, FoundModel
from ltx2.checkpoint.reader import CheckpointFile
from ltx2.checkpoint.sources import open_upsampler
from ltx2.errors import CheckpointError
from ltx2.model.config import UpsamplerConfig

logger = logging.getLogger(__name__)

DIFFUSERS_FOLDER = "latent_upsampler"
"""What a folder of diffusers calls it."""

UPSAMPLER_MARK = "post_upsample_res_blocks."
"""Tensors that only a latent upsampler has."""


def find_upsamplers(found: FoundModel) -> list[CheckpointFile]:
    """Upsamplers in a model's folder, in the order of their names; that of diffusers comes last."""
    files = []
    for path in sorted(found.file.path.parent.glob(f"*{SUFFIX}")):
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


def is_temporal(file: CheckpointFile) -> bool:
    """Whether an upsampler doubles the frame rate, rather than height and width."""
    return UpsamplerConfig.from_metadata(file.config).temporal
