"""The architecture as the folders of diffusers state it, and as the official metadata do.

Both directions, over plain JSON. What diffusers has no word for keeps the published value.
"""

from collections.abc import Mapping
from typing import Any

from ltx2.errors import CheckpointError

NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a configuration that says nonsense makes of reading it."""

Configs = Mapping[str, Mapping[str, Any]]
"""`config.json` by folder."""

_TRANSFORMER = {
    "num_layers": "num_layers",
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "num_attention_heads": "num_attention_heads",
    "attention_head_dim": "attention_head_dim",
    "cross_attention_dim": "cross_attention_dim",
    "audio_in_channels": "audio_in_channels",
    "audio_out_channels": "audio_out_channels",
    "audio_num_attention_heads": "audio_num_attention_heads",
    "audio_attention_head_dim": "audio_attention_head_dim",
    "audio_cross_attention_dim": "audio_cross_attention_dim",
    "caption_channels": "caption_channels",
    "timestep_scale_multiplier": "timestep_scale_multiplier",
    "av_ca_timestep_scale_multiplier": "cross_attn_timestep_scale_multiplier",
    "positional_embedding_theta": "rope_theta",
    "rope_type": "rope_type",
    "norm_eps": "norm_eps",
    "norm_elementwise_affine": "norm_elementwise_affine",
    "activation_fn": "activation_fn",
    "attention_bias": "attention_bias",
    "apply_gated_attention": "gated_attn",
    "cross_attention_adaln": "cross_attn_mod",
    "ff_bias": "ff_bias",
    "use_prompt_adaln_single": "use_prompt_adaln_single",
}
"""Official keys of the transformer that diffusers has under another name or the same."""

_CONNECTORS = {
    "connector_num_layers": "video_connector_num_layers",
    "connector_num_attention_heads": "video_connector_num_attention_heads",
    "connector_attention_head_dim": "video_connector_attention_head_dim",
    "connector_num_learnable_registers": "video_connector_num_learnable_registers",
    "connector_apply_gated_attention": "video_gated_attn",
    "audio_connector_num_attention_heads": "audio_connector_num_attention_heads",
    "audio_connector_attention_head_dim": "audio_connector_attention_head_dim",
}
_VOCODER = {
    "upsample_initial_channel": "hidden_channels",
    "upsample_rates": "upsample_factors",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resblock_kernel_sizes": "resnet_kernel_sizes",
    "resblock_dilation_sizes": "resnet_dilations",
}
_AUDIO_VAE = {
    "ch": "base_channels",
    "ch_mult": "ch_mult",
    "num_res_blocks": "num_res_blocks",
    "z_channels": "latent_channels",
    "in_channels": "in_channels",
    "out_ch": "output_channels",
    "resolution": "resolution",
    "norm_type": "norm_type",
    "causality_axis": "causality_axis",
    "mid_block_add_attention": "mid_block_add_attention",
    "dropout": "dropout",
    "double_z": "double_z",
    "mel_bins": "mel_bins",
}
_KINDS = {"all": "spatiotemporal", "space": "spatial", "time": "temporal"}
"""Of resamplings: after `compress_` in the official names, and in diffusers."""

CLASSES = {
    "transformer": ("diffusers", "LTX2VideoTransformer3DModel"),
    "connectors": ("ltx2", "LTX2TextConnectors"),
    "vae": ("diffusers", "AutoencoderKLLTX2Video"),
    "audio_vae": ("diffusers", "AutoencoderKLLTX2Audio"),
    "vocoder": ("ltx2", "LTX2Vocoder"),
    "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
}
"""Library and class of each folder, as `model_index.json` lists them."""


def to_official(configs: Configs) -> dict[str, Any]:
    """The metadata `config` of a single file with the same networks.

    Raises:
        CheckpointError: a folder's configuration is missing or says what official ones cannot.
    """
    try:
        return {
            "transformer": _transformer(configs["transformer"], configs["connectors"]),
            "vae": _video_vae(configs["vae"]),
            "audio_vae": _audio_vae(configs["audio_vae"]),
            "vocoder": _vocoder(configs["vocoder"]),
        }
    except NONSENSE as error:
        raise CheckpointError(
            f"The configuration of the diffusers model cannot be used ({error!r}).",
            next_step="Download or copy the folder again.",
        ) from error


def to_diffusers_configs(
    config: Mapping[str, Any], *, num_states: int, is_distilled: bool
) -> dict[str, Any]:
    """`config.json` of every folder for an official metadata `config`.

    Args:
        config: with all sections.
        num_states: hidden states of the text encoder that the text's projection takes.
        is_distilled: whether the model has noise levels of its own.

    Raises:
        CheckpointError: diffusers cannot build such networks.
    """
    try:
        configs = {
            "transformer": _their_transformer(config["transformer"]),
            "connectors": _their_connectors(config["transformer"], num_states),
            "vae": _their_video_vae(config["vae"]),
            "audio_vae": _their_audio_vae(config["audio_vae"]),
            "vocoder": _their_vocoder(config["vocoder"], config["audio_vae"]),
        }
    except NONSENSE as error:
        raise CheckpointError(
            f"The configuration cannot be said in diffusers' words ({error!r}).",
            next_step="Use an unchanged LTX-2 or LTX-2.3 checkpoint.",
        ) from error
    scheduler = {
        "use_dynamic_shifting": not is_distilled,
        "base_shift": 0.95,
        "max_shift": 2.05,
        "base_image_seq_len": 1024,
        "max_image_seq_len": 4096,
        "shift_terminal": None if is_distilled else 0.1,
    }
    configs["scheduler"] = scheduler
    for folder, (_, kind) in CLASSES.items():
        if folder == "vocoder" and "bwe_hidden_channels" in configs[folder]:
            kind = "LTX2VocoderWithBWE"
        configs[folder] = {"_class_name": kind, **configs[folder]}
    return configs


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values under the keys of `names`, from those under its values, where they are stated."""
    return {new: values[old] for new, old in names.items() if old in values}


def _backwards(names: Mapping[str, str]) -> dict[str, str]:
    return {old: new for new, old in names.items()}


def _agree(values: Mapping[str, Any], *keys: str) -> None:
    """Complain about keys that official files have one word for and that say different things."""
    stated = {repr(values[key]) for key in keys if key in values}
    if len(stated) > 1:
        raise ValueError(f"{' and '.join(keys)} differ")


def _transformer(theirs: Mapping[str, Any], connectors: Mapping[str, Any]) -> dict[str, Any]:
    _agree(theirs, "gated_attn", "audio_gated_attn")
    _agree(theirs, "cross_attn_mod", "audio_cross_attn_mod")
    _agree(connectors, "video_gated_attn", "audio_gated_attn")
    for key in ("num_layers", "num_learnable_registers"):
        _agree(connectors, f"video_connector_{key}", f"audio_connector_{key}")
    is_double = theirs.get("rope_double_precision", True)
    ours: dict[str, Any] = {
        "_class_name": "AVTransformer3DModel",
        **_renamed(theirs, _TRANSFORMER),
        **_renamed(connectors, _CONNECTORS),
        "positional_embedding_max_pos": [
            theirs.get("pos_embed_max_pos", 20),
            theirs.get("base_height", 2048),
            theirs.get("base_width", 2048),
        ],
        "audio_positional_embedding_max_pos": [theirs.get("audio_pos_embed_max_pos", 20)],
        "frequencies_precision": "float64" if is_double else "float32",
        "qk_norm": "rms_norm",
        "connector_positional_embedding_max_pos": [
            connectors.get("connector_rope_base_seq_len", 4096)
        ],
        "caption_proj_before_connector": not theirs.get("use_prompt_embeddings", True),
    }
    if connectors.get("per_modality_projections", False):
        ours["text_encoder_norm_type"] = "per_token_rms"
    return ours


def _their_transformer(ours: Mapping[str, Any]) -> dict[str, Any]:
    seconds, height, width = ours.get("positional_embedding_max_pos", [20, 2048, 2048])
    is_later = bool(ours.get("caption_proj_before_connector", False))
    gated = ours.get("apply_gated_attention", False)
    modulated = ours.get("cross_attention_adaln", False)
    return {
        "in_channels": 128,
        "out_channels": 128,
        "audio_in_channels": 128,
        "audio_out_channels": 128,
        **_renamed(ours, _backwards(_TRANSFORMER)),
        "patch_size": 1,
        "patch_size_t": 1,
        "audio_patch_size": 1,
        "audio_patch_size_t": 1,
        "vae_scale_factors": [8, 32, 32],
        "audio_scale_factor": 4,
        "audio_sampling_rate": 16000,
        "audio_hop_length": 160,
        "pos_embed_max_pos": seconds,
        "base_height": height,
        "base_width": width,
        "audio_pos_embed_max_pos": ours.get("audio_positional_embedding_max_pos", [20])[0],
        "gated_attn": gated,
        "audio_gated_attn": gated,
        "cross_attn_mod": modulated,
        "audio_cross_attn_mod": modulated,
        "attention_out_bias": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_double_precision": ours.get("frequencies_precision", "float64") == "float64",
        "causal_offset": 1,
        "use_prompt_embeddings": not is_later,
        # Guidance by disturbed attention came with LTX-2.3; before, diffusers leaves it out.
        "perturbed_attn": is_later,
    }


def _their_connectors(ours: Mapping[str, Any], num_states: int) -> dict[str, Any]:
    theirs = _renamed(ours, _backwards(_CONNECTORS))
    is_later = bool(ours.get("caption_proj_before_connector", False))
    for key in ("num_layers", "num_learnable_registers"):
        theirs[f"audio_connector_{key}"] = theirs[f"video_connector_{key}"]
    for key in ("num_attention_heads", "attention_head_dim"):
        theirs.setdefault(f"audio_connector_{key}", theirs[f"video_connector_{key}"])
    gated = theirs.setdefault("video_gated_attn", False)
    theirs["audio_gated_attn"] = gated
    result = {
        "caption_channels": ours.get("caption_channels", 3840),
        "text_proj_in_factor": num_states,
        **theirs,
        "connector_rope_base_seq_len": ours.get("connector_positional_embedding_max_pos", [4096])[
            0
        ],
        "rope_theta": ours.get("positional_embedding_theta", 10000.0),
        "rope_double_precision": ours.get("frequencies_precision", "float64") == "float64",
        "causal_temporal_positioning": False,
        "rope_type": ours.get("rope_type", "split"),
        "per_modality_projections": is_later,
        "proj_bias": is_later,
    }
    if is_later:
        for modality in ("video", "audio"):
            heads, width = (
                theirs[f"{modality}_connector_{key}"]
                for key in ("num_attention_heads", "attention_head_dim")
            )
            result[f"{modality}_hidden_dim"] = heads * width
    return result


def _video_vae(theirs: Mapping[str, Any]) -> dict[str, Any]:
    latents = theirs["latent_channels"]
    widths = [latents, *theirs["block_out_channels"]]
    encoder: list[list[Any]] = []
    kinds = _backwards(_KINDS)
    for number, kind in enumerate(theirs["downsample_type"]):
        multiplier, rest = divmod(widths[number + 1], widths[number])
        if rest:
            raise ValueError(f"block_out_channels {theirs['block_out_channels']}")
        encoder.append(["res_x", {"num_layers": theirs["layers_per_block"][number]}])
        encoder.append([f"compress_{kinds[kind]}_res", {"multiplier": multiplier}])
    encoder.append(["res_x", {"num_layers": theirs["layers_per_block"][-1]}])

    if any(theirs.get("decoder_inject_noise", ())):
        raise ValueError("decoder_inject_noise")
    decoder: list[list[Any]] = []
    residual = {bool(value) for value in theirs["upsample_residual"]}
    if len(residual) > 1:
        raise ValueError("upsample_residual differs")
    factors = theirs["upsample_factor"]
    # Kinds are listed from the latents to the picture, all else from the picture to the latents.
    for number, kind in enumerate(reversed(theirs["upsample_type"])):
        options = {"multiplier": factors[number], "residual": residual == {True}}
        decoder.append(["res_x", {"num_layers": theirs["decoder_layers_per_block"][number]}])
        decoder.append([f"compress_{kinds[kind]}", options])
    decoder.append(["res_x", {"num_layers": theirs["decoder_layers_per_block"][-1]}])
    return {
        "_class_name": "CausalVideoAutoencoder",
        "latent_channels": latents,
        "patch_size": theirs["patch_size"],
        "encoder_blocks": encoder,
        "decoder_blocks": decoder,
        "encoder_base_channels": latents,
        "decoder_base_channels": theirs["decoder_block_out_channels"][0] // factors[0],
        "norm_layer": "pixel_norm",
        "latent_log_var": "uniform",
        "use_quant_conv": False,
        "causal_decoder": theirs.get("decoder_causal", False),
        "timestep_conditioning": theirs.get("timestep_conditioning", False),
        "normalize_latent_channels": False,
        "encoder_spatial_padding_mode": theirs.get("encoder_spatial_padding_mode", "zeros"),
        "decoder_spatial_padding_mode": theirs.get("decoder_spatial_padding_mode", "reflect"),
    }


def _their_video_vae(ours: Mapping[str, Any]) -> dict[str, Any]:
    latents = ours["latent_channels"]
    if ours.get("encoder_base_channels", latents) != latents:
        raise ValueError("encoder_base_channels differ from latent_channels")
    layers, kinds, factors, _ = _stages(ours["encoder_blocks"])
    decoder_layers, decoder_kinds, decoder_factors, decoder_residual = _stages(
        ours["decoder_blocks"]
    )
    padding = ours.get("spatial_padding_mode")
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": latents,
        "block_out_channels": _widths(latents, factors),
        "down_block_types": ["LTX2VideoDownBlock3D"] * len(kinds),
        "decoder_block_out_channels": _widths(
            ours.get("decoder_base_channels", latents), decoder_factors
        ),
        "layers_per_block": layers,
        "decoder_layers_per_block": decoder_layers,
        "spatio_temporal_scaling": [True] * len(kinds),
        "decoder_spatio_temporal_scaling": [True] * len(decoder_kinds),
        "decoder_inject_noise": [False] * len(decoder_layers),
        "downsample_type": kinds,
        "upsample_type": decoder_kinds[::-1],
        "upsample_residual": decoder_residual,
        "upsample_factor": decoder_factors,
        "timestep_conditioning": ours.get("timestep_conditioning", False),
        "patch_size": ours["patch_size"],
        "patch_size_t": 1,
        "resnet_norm_eps": 1e-6,
        "encoder_causal": True,
        "decoder_causal": ours.get("causal_decoder", False),
        "encoder_spatial_padding_mode": ours.get(
            "encoder_spatial_padding_mode", padding or "zeros"
        ),
        "decoder_spatial_padding_mode": ours.get(
            "decoder_spatial_padding_mode", padding or "reflect"
        ),
        "spatial_compression_ratio": ours["patch_size"] * 2 ** sum(k != "temporal" for k in kinds),
        "temporal_compression_ratio": 2 ** sum(k != "spatial" for k in kinds),
    }


def _stages(
    blocks: list[tuple[str, Any]],
) -> tuple[list[int], list[str], list[int], list[bool]]:
    """Layers of each run of residual blocks; kind, factor and shortcut of the resamplings between.

    In diffusers they take turns, beginning and ending with residual blocks.
    """
    layers, kinds, factors, residual = [], [], [], []
    for number, (name, stated) in enumerate(blocks):
        options = {"num_layers": stated} if isinstance(stated, int) else stated
        if number % 2 == 0 and name == "res_x":
            layers.append(int(options["num_layers"]))
        elif number % 2 and name.startswith("compress_"):
            kinds.append(_KINDS[name.removeprefix("compress_").removesuffix("_res")])
            factors.append(int(options.get("multiplier", 2)))
            residual.append(bool(options.get("residual", False)) or name.endswith("_res"))
        else:
            raise ValueError(f"block {number} is {name!r}")
    if len(layers) != len(kinds) + 1:
        raise ValueError("the last block is a resampling")
    return layers, kinds, factors, residual


def _widths(base: int, factors: list[int]) -> list[int]:
    widths = [base]
    for factor in factors:
        widths.append(widths[-1] * factor)
    return widths[1:]


def _audio_vae(theirs: Mapping[str, Any]) -> dict[str, Any]:
    network = _renamed(theirs, _AUDIO_VAE) | {"attn_resolutions": theirs["attn_resolutions"] or []}
    return {
        "model": {
            "params": {"ddconfig": network, "sampling_rate": theirs.get("sample_rate", 16000)}
        },
        "preprocessing": {
            "stft": {"hop_length": theirs.get("mel_hop_length", 160)},
            "mel": {"n_mel_channels": theirs.get("mel_bins", 64)},
        },
    }


def _their_audio_vae(ours: Mapping[str, Any]) -> dict[str, Any]:
    parameters = ours["model"]["params"]
    network, steps = parameters["ddconfig"], ours.get("preprocessing", {})
    return {
        "in_channels": 2,
        "output_channels": 2,
        "resolution": 256,
        "norm_type": "pixel",
        "causality_axis": "height",
        "dropout": 0.0,
        "mid_block_add_attention": False,
        "double_z": True,
        **_renamed(network, _backwards(_AUDIO_VAE)),
        "attn_resolutions": network.get("attn_resolutions") or None,
        "sample_rate": parameters.get("sampling_rate", 16000),
        "mel_hop_length": steps.get("stft", {}).get("hop_length", 160),
        "mel_bins": steps.get("mel", {}).get("n_mel_channels", 64),
        "is_causal": True,
    }


def _vocoder(theirs: Mapping[str, Any]) -> dict[str, Any]:
    ours = _renamed(theirs, _VOCODER) | {"stereo": theirs["out_channels"] == 2}
    if "bwe_hidden_channels" not in theirs:
        return ours | {"resblock": "1", "output_sample_rate": theirs["output_sampling_rate"]}
    _agree(theirs, "filter_length", "window_length")
    kind = {"resblock": "AMP1", "activation": theirs["act_fn"]}
    kind |= {"use_tanh_at_final": theirs["final_act_fn"] == "tanh"}
    kind |= {"use_bias_at_final": theirs["final_bias"]}
    wide = _renamed(theirs, {new: f"bwe_{old}" for new, old in _VOCODER.items()})
    return {
        "vocoder": ours | kind,
        "bwe": {
            **wide,
            **kind,
            "stereo": theirs["bwe_out_channels"] == 2,
            "apply_final_activation": theirs["bwe_final_act_fn"] is not None,
            "input_sampling_rate": theirs["input_sampling_rate"],
            "output_sampling_rate": theirs["output_sampling_rate"],
            "hop_length": theirs["hop_length"],
            "n_fft": theirs["filter_length"],
            "win_size": theirs["window_length"],
            "num_mels": theirs["num_mel_channels"],
        },
    }


def _their_vocoder(ours: Mapping[str, Any], audio_vae: Mapping[str, Any]) -> dict[str, Any]:
    bins = audio_vae.get("preprocessing", {}).get("mel", {}).get("n_mel_channels", 64)
    if "bwe" not in ours:
        channels = 2 if ours.get("stereo", True) else 1
        rate = ours.get("output_sample_rate", ours.get("output_sampling_rate", 24000))
        return {
            "in_channels": channels * bins,
            **_renamed(ours, _backwards(_VOCODER)),
            "out_channels": channels,
            "act_fn": "leaky_relu",
            "leaky_relu_negative_slope": 0.1,
            "antialias": False,
            "final_act_fn": "tanh",
            "final_bias": True,
            "output_sampling_rate": rate,
        }
    narrow, wide = ours["vocoder"], ours["bwe"]
    channels = 2 if narrow.get("stereo", True) else 1
    shared = {
        "act_fn": "snakebeta",
        "leaky_relu_negative_slope": 0.1,
        "antialias": True,
        "antialias_ratio": 2,
        "antialias_kernel_size": 12,
        "final_act_fn": None,
        "final_bias": False,
    }
    generators = {
        "": ({"in_channels": channels * bins}, narrow),
        "bwe_": ({"in_channels": channels * wide["num_mels"]}, wide),
    }
    theirs: dict[str, Any] = {}
    for prefix, (given, section) in generators.items():
        values = {**given, "out_channels": channels, **shared}
        values |= _renamed(section, _backwards(_VOCODER))
        theirs |= {f"{prefix}{key}": value for key, value in values.items()}
    return {
        **theirs,
        "filter_length": wide["n_fft"],
        "window_length": wide["win_size"],
        "hop_length": wide["hop_length"],
        "num_mel_channels": wide["num_mels"],
        "input_sampling_rate": wide["input_sampling_rate"],
        "output_sampling_rate": wide["output_sampling_rate"],
    }
