"""The video autoencoder."""

from ltx2.model.video_vae.config import VideoVAEConfig
from ltx2.model.video_vae.tiling import TileSize
from ltx2.model.video_vae.vae import VideoVAE

__all__ = ["TileSize", "VideoVAE", "VideoVAEConfig"]
