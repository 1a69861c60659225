"""Sizes of the puppet model, written as the metadata that its checkpoint carries.

Every component is a real LTX-2 class; only the numbers are small. The video autoencoder folds
16x16 pixels and 8 frames into one latent voxel instead of 32x32 and 8, which a small network
learns far sooner.
"""

from typing import Any

FRAME_RATE = 24.0
SAMPLE_RATE = 16_000
HEIGHT = WIDTH = 96
NUM_FRAMES = 49
LONG_NUM_FRAMES = 97
LARGE_SIDE, LARGE_NUM_FRAMES = 192, 25
"""Clips that teach the autoencoder and the upsampler large pictures."""
MAX_PROMPT_TOKENS = 128
SHIFT = 0.7
"""Shift of the noise levels in training and sampling: a small picture needs little noise."""

VIDEO_LATENT_CHANNELS = 96
AUDIO_LATENT_CHANNELS = 2
TEXT_WIDTH = 128

CONFIG: dict[str, Any] = {
    "transformer": {
        "num_layers": 5,
        "in_channels": VIDEO_LATENT_CHANNELS,
        "out_channels": VIDEO_LATENT_CHANNELS,
        "num_attention_heads": 4,
        "attention_head_dim": 40,
        "cross_attention_dim": 160,
        "caption_channels": TEXT_WIDTH,
        "audio_in_channels": AUDIO_LATENT_CHANNELS * 16,
        "audio_out_channels": AUDIO_LATENT_CHANNELS * 16,
        "audio_num_attention_heads": 4,
        "audio_attention_head_dim": 32,
        "audio_cross_attention_dim": 128,
        "norm_eps": 1e-6,
        "qk_norm": "rms_norm",
        "attention_bias": True,
        "activation_fn": "gelu-approximate",
        "rope_type": "split",
        "frequencies_precision": "float64",
        "use_middle_indices_grid": True,
        "causal_temporal_positioning": True,
        "positional_embedding_type": "rope",
        "positional_embedding_theta": 10000.0,
        "positional_embedding_max_pos": [8, 128, 128],
        "audio_positional_embedding_max_pos": [8],
        "timestep_scale_multiplier": 1000,
        "av_ca_timestep_scale_multiplier": 1000.0,
        "use_audio_video_cross_attention": True,
        "av_cross_ada_norm": True,
        "use_embeddings_connector": True,
        "connector_num_attention_heads": 4,
        "connector_attention_head_dim": 32,
        "connector_num_layers": 1,
        "connector_positional_embedding_max_pos": [MAX_PROMPT_TOKENS],
        "connector_num_learnable_registers": 32,
        "connector_norm_output": True,
    },
    "vae": {
        "_class_name": "CausalVideoAutoencoder",
        "dims": 3,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": VIDEO_LATENT_CHANNELS,
        "encoder_base_channels": 28,
        "decoder_base_channels": 28,
        "encoder_blocks": [
            ["res_x", {"num_layers": 1}],
            ["compress_all_res", {"multiplier": 2}],
            ["res_x", {"num_layers": 1}],
            ["compress_all_res", {"multiplier": 2}],
            ["res_x", {"num_layers": 1}],
            ["compress_time_res", {"multiplier": 1}],
        ],
        "decoder_blocks": [
            ["res_x", {"num_layers": 1}],
            ["compress_all", {"multiplier": 2, "residual": True}],
            ["res_x", {"num_layers": 1}],
            ["compress_all", {"multiplier": 2, "residual": True}],
            ["res_x", {"num_layers": 1}],
            ["compress_time", {"multiplier": 1, "residual": True}],
        ],
        "norm_layer": "pixel_norm",
        "patch_size": 4,
        "latent_log_var": "uniform",
        "causal_decoder": False,
        "timestep_conditioning": False,
    },
    "audio_vae": {
        "model": {
            "params": {
                "sampling_rate": SAMPLE_RATE,
                "ddconfig": {
                    "double_z": True,
                    "mel_bins": 64,
                    "z_channels": AUDIO_LATENT_CHANNELS,
                    "in_channels": 2,
                    "out_ch": 2,
                    "ch": 24,
                    "ch_mult": [1, 2, 3],
                    "num_res_blocks": 1,
                    "attn_resolutions": [],
                    "mid_block_add_attention": False,
                    "norm_type": "pixel",
                    "causality_axis": "height",
                },
            }
        },
        "preprocessing": {
            "audio": {"sampling_rate": SAMPLE_RATE, "stereo": True},
            "stft": {"filter_length": 1024, "hop_length": 160, "win_length": 1024},
            "mel": {"n_mel_channels": 64, "mel_fmin": 0, "mel_fmax": 8000},
        },
    },
    "vocoder": {
        "upsample_initial_channel": 256,
        "resblock": "1",
        # Four wide steps rather than five: each side keeps eight channels at the full rate.
        "upsample_rates": [5, 4, 4, 2],
        "upsample_kernel_sizes": [11, 8, 8, 4],
        "resblock_kernel_sizes": [3, 7],
        "resblock_dilation_sizes": [[1, 3], [1, 3]],
        "stereo": True,
        "output_sample_rate": SAMPLE_RATE,
    },
    "scheduler": {"_class_name": "RectifiedFlowScheduler", "num_train_timesteps": 1000},
}

UPSAMPLER_CONFIG: dict[str, Any] = {
    "_class_name": "LatentUpsampler",
    "in_channels": VIDEO_LATENT_CHANNELS,
    "mid_channels": 32,
    "num_blocks_per_stage": 1,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": False,
}
