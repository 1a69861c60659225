"""Names that programs rely on: the page's public endpoint and the order of its parameters."""

GENERATE_VIDEO = "generate_video"
"""Answers with the clip's file and the seed used, as the LTX-2 pages on Hugging Face do."""

GENERATE_VIDEO_PARAMETERS = (
    "image",
    "prompt",
    "duration",
    "enhance_prompt",
    "seed",
    "randomize_seed",
    "height",
    "width",
    "negative_prompt",
    "num_inference_steps",
    "cfg_guidance_scale",
    "audio_cfg_guidance_scale",
    "model",
    "lora",
    "lora_strength",
    "frame_rate",
    "sampler",
    "upscale",
    "lora_2",
    "lora_strength_2",
    "lora_3",
    "lora_strength_3",
    "lora_4",
    "lora_strength_4",
    "upscale_time",
    "upscale_by_half",
    "lora_audio_strength",
    "lora_audio_strength_2",
    "lora_audio_strength_3",
    "lora_audio_strength_4",
    "quantization",
)
"""Names as scripts written for those pages use them; ours come last. Never reorder or rename."""
