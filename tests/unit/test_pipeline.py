import copy
import gc
import json
import weakref
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import ltx2
from ltx2.checkpoint.catalog import DISTILLED_SIGMAS
from ltx2.checkpoint.loader import build_video_vae, load_networks
from ltx2.checkpoint.reader import CheckpointFile, save_checkpoint
from ltx2.errors import (
    CheckpointError,
    GenerationCancelled,
    GenerationError,
    RequestError,
    ResourceError,
)
from ltx2.generation.codec import decode_video
from ltx2.geometry import num_samples
from ltx2.model.quantized import QuantizedLinear
from ltx2.model.video_vae import TileSize
from ltx2.preview import PreviewPlan
from ltx2.request import Computation, Guidance, Request
from tests.tiny_checkpoint import (
    PROFILE,
    tiny_checkpoint,
    tiny_config,
    tiny_config_2_3,
    write_tiny_model,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pipeline(folder):
    return ltx2.load(folder, device="cpu")


def with_profile(pipeline, **changes):
    """The same networks under another profile."""
    return ltx2.Pipeline(
        pipeline.networks,
        pipeline._load_text,
        name="other",
        profile=pipeline.profile.model_copy(update=changes),
        fingerprint=pipeline.fingerprint,
        device="cpu",
    )


def a_request(**changes):
    return Request(**{"prompt": "a red puppet says hello", **changes})


def same(one, other):
    return np.array_equal(one.frames, other.frames) and np.array_equal(one.waveform, other.waveform)


def test_a_clip_has_the_asked_size_and_sound_of_exactly_its_length(pipeline):
    clip = pipeline(a_request(num_frames=17, width=60, height=37))
    assert clip.frames.shape == (17, 32, 64, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.waveform.shape == (2, num_samples(17, 8.0, clip.sample_rate))
    assert clip.waveform.dtype == np.float32
    assert np.abs(clip.waveform).max() <= 1.0


@pytest.mark.slow
def test_ltx_2_3_makes_a_clip_with_sound_at_48_khz(tmp_path):
    profile = PROFILE.model_copy(
        update={"height": 64, "spatial_multiple": 32, "min_size": 64, "sigmas": None}
    )
    checkpoint = tiny_checkpoint(config=tiny_config_2_3())
    later = ltx2.load(write_tiny_model(tmp_path, checkpoint, profile=profile), device="cpu")
    clip = later(a_request(num_frames=9))
    assert clip.frames.shape == (9, 64, 64, 3)
    assert clip.sample_rate == 48_000
    assert clip.waveform.shape == (2, num_samples(9, 8.0, 48_000))
    assert np.array_equal(clip.frames, later(a_request(num_frames=9)).frames)
    assert not np.array_equal(clip.frames, later(a_request(num_frames=9, prompt="a ball")).frames)


def test_sound_that_is_too_short_ends_in_silence_and_too_long_is_cut(pipeline):
    # 9 frames at 8 Hz need 28 latents, 109 mel frames, 17,440 samples; the picture lasts 18,000.
    padded = pipeline(a_request(num_frames=9))
    assert padded.waveform.shape[1] == 18_000
    assert np.abs(padded.waveform[:, 17_440:]).max() == 0.0
    assert np.abs(padded.waveform[:, 17_000:17_440]).max() > 0.0
    # 1 frame at 30 Hz needs one latent, one mel frame of 160 samples, and lasts 533.
    assert pipeline(a_request(num_frames=1, frame_rate=30.0)).waveform.shape[1] == 533
    # 1 frame at 120 Hz lasts 133 samples, fewer than a mel frame.
    assert pipeline(a_request(num_frames=1, frame_rate=120.0)).waveform.shape[1] == 133


def test_the_recipe_says_everything_needed_to_make_the_clip_again(folder, pipeline):
    clip = pipeline(a_request(seed=3))
    assert clip.recipe.model == "tiny"
    assert clip.recipe.fingerprint == pipeline.fingerprint
    assert clip.recipe.digest == CheckpointFile.open(folder / "model.safetensors").digest
    assert clip.recipe.software == f"ltx2 {ltx2.__version__}"
    assert clip.recipe.request == a_request(seed=3).resolve(PROFILE)
    assert same(pipeline(clip.recipe.request), clip)


def write_lora(path, pipeline, *, module="transformer_blocks.0.attn1.to_q", seed=0):
    """A LoRA that changes one weight of the tiny model noticeably."""
    weight = pipeline.networks.transformer.get_submodule(module).weight
    generator = torch.Generator().manual_seed(seed)
    down = torch.randn(2, weight.shape[1], generator=generator)
    up = torch.randn(weight.shape[0], 2, generator=generator)
    path.parent.mkdir(exist_ok=True)
    name = f"diffusion_model.{module}.lora"
    save_checkpoint(path, {f"{name}_A.weight": down, f"{name}_B.weight": up}, {})
    return up @ down


def test_how_a_clip_was_computed_stands_in_its_recipe_where_it_changes_bits(folder, pipeline):
    usual = pipeline(a_request(num_frames=9))
    assert usual.recipe.computation == Computation(dtype="float32")
    assert str(usual.recipe.computation) == "float32"
    for options, told in (
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"quantization": "int8"}, "float32, quantization int8"),
        ({"attention": "math"}, "float32, attention math"),
    ):
        other = ltx2.load(folder, device="cpu", **options)
        clip = other(a_request(num_frames=9))
        assert not same(clip, usual)
        assert str(clip.recipe.computation) == told
        assert other.differences_from(clip.recipe) == ()
        (sentence,) = other.differences_from(usual.recipe)
        assert sentence == f"The recipe was computed with float32, this computes with {told}."
    for offload in ("cpu", "disk"):  # leaves bits as they are
        visiting = ltx2.load(folder, device="cpu", offload=offload)
        assert same(visiting(a_request(num_frames=9)), usual)
        assert visiting.differences_from(usual.recipe) == ()
    in_files = ltx2.load(folder, device="cpu", offload="disk", quantization="int8")
    assert in_files.differences_from(usual.recipe) == ()  # nothing is quantised there
    older = usual.recipe.model_copy(update={"computation": None, "text_encoder": None})
    assert in_files.differences_from(older) == ()


def test_another_tokenizer_is_told_apart(tmp_path, pipeline):
    clip = pipeline(a_request(num_frames=9))
    model = write_tiny_model(tmp_path / "tiny")
    settings = model / "text_encoder" / "tokenizer_config.json"
    settings.write_text(settings.read_text() + "\n")
    (sentence,) = ltx2.load(model, device="cpu").differences_from(clip.recipe)
    assert sentence == "The recipe was made with another text encoder or tokenizer."


def test_loras_change_the_clip_and_stand_in_its_recipe(tmp_path, pipeline):
    model = write_tiny_model(tmp_path / "tiny")
    change = write_lora(model / "loras" / "one.safetensors", pipeline)
    write_lora(tmp_path / "two.safetensors", pipeline, seed=1)
    chosen = [ltx2.LoraChoice("one", 0.5), (tmp_path / "two.safetensors", -1.0)]
    both = ltx2.load(model, device="cpu", loras=chosen)
    one = ltx2.load(model, device="cpu", loras=chosen[:1])
    name = "transformer_blocks.0.attn1.to_q.weight"
    plain = pipeline.networks.transformer.get_parameter(name)
    fused = one.networks.transformer.get_parameter(name)
    torch.testing.assert_close(fused, plain + 0.5 * change)

    clips = [made_by(a_request()) for made_by in (pipeline, one, both)]
    assert not any(same(clip, other) for clip, other in pairwise(clips))
    recipe = clips[2].recipe
    assert [(lora.file, lora.strength) for lora in recipe.loras] == [
        ("one.safetensors", 0.5),
        ("two.safetensors", -1.0),
    ]
    assert recipe.loras[0].digest == CheckpointFile.open(model / "loras/one.safetensors").digest
    assert len({clip.recipe.digest for clip in clips}) == 1
    assert clips[0].recipe.loras == ()
    assert both.differences_from(recipe) == ()
    (sentence,) = one.differences_from(recipe)
    assert "one.safetensors (0.5, " in sentence
    assert "two.safetensors (-1, " in sentence
    (sentence,) = pipeline.differences_from(clips[1].recipe)
    assert sentence.endswith("this has no LoRA.")


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["none", "int8"])
@pytest.mark.parametrize("live", [False, True])
def test_loras_are_exchanged_without_loading_the_model_again(
    tmp_path, folder, pipeline, live, quantization
):
    write_lora(tmp_path / "one.safetensors", pipeline)
    write_lora(tmp_path / "two.safetensors", pipeline, seed=1)
    one, two = ([(tmp_path / f"{name}.safetensors", 0.5)] for name in ("one", "two"))
    options = {"device": "cpu", "live_loras": live, "quantization": quantization}
    loaded = ltx2.load(folder, loras=one, **options)
    before = loaded.networks.transformer.state_dict()
    with_one = loaded(a_request(num_frames=9))
    loaded.use_loras(two)
    fresh = ltx2.load(folder, loras=two, **options)(a_request(num_frames=9))
    with_two = loaded(a_request(num_frames=9))
    assert same(with_two, fresh)
    assert with_two.recipe.loras == fresh.recipe.loras
    assert not same(with_two, with_one)
    loaded.use_loras(())
    weights = ltx2.load(folder, **options).networks.transformer.state_dict()
    now = loaded.networks.transformer.state_dict()
    assert all(torch.equal(now[name], weight) for name, weight in weights.items())
    assert loaded(a_request(num_frames=9)).recipe.loras == ()
    assert before.keys()
    with pytest.raises(CheckpointError, match="no LoRA"):
        loaded.use_loras([("nowhere", 1.0)])
    loaded.use_loras(one)
    assert same(loaded(a_request(num_frames=9)), with_one)


def test_picture_and_sound_may_follow_a_lora_in_different_strengths(tmp_path, folder, pipeline):
    write_lora(tmp_path / "one.safetensors", pipeline)
    choice = ltx2.LoraChoice(tmp_path / "one.safetensors", 0.5, audio_strength=0.0)
    clip = ltx2.load(folder, device="cpu", loras=[choice])(a_request(num_frames=9))
    (lora,) = clip.recipe.loras
    assert (lora.strength, lora.strength_of_sound) == (0.5, 0.0)
    usual = ltx2.load(folder, device="cpu", loras=[choice[:2]])
    assert same(usual(a_request(num_frames=9)), clip)  # it changes the picture alone
    (sentence,) = usual.differences_from(clip.recipe)
    assert "(0.5/0, " in sentence
    silent = ltx2.load(folder, device="cpu", loras=[choice._replace(strength=0.0)])
    assert same(silent(a_request(num_frames=9)), pipeline(a_request(num_frames=9)))


def test_a_lora_that_cannot_be_used_is_an_error_before_the_model_is_loaded(
    folder, pipeline, tmp_path, monkeypatch
):
    monkeypatch.setattr("ltx2.pipeline.load_networks", lambda *_, **__: pytest.fail("loaded"))
    write_lora(tmp_path / "one.safetensors", pipeline)
    save_checkpoint(tmp_path / "none.safetensors", {"weight": torch.zeros(1)}, {})
    for name in ("nowhere", tmp_path / "none.safetensors"):
        with pytest.raises(CheckpointError, match="LoRA"):
            ltx2.load(folder, device="cpu", loras=[(name, 1.0)])
    for strength in (float("nan"), float("inf")):
        with pytest.raises(RequestError, match="strength"):
            ltx2.load(folder, device="cpu", loras=[(tmp_path / "one.safetensors", strength)])


def test_a_recipe_of_other_weights_is_told_apart(tmp_path, folder, pipeline):
    clip = pipeline(a_request())
    assert pipeline.differences_from(clip.recipe) == ()
    older = clip.recipe.model_copy(update={"digest": None})
    assert pipeline.differences_from(older) == ()

    tensors = tiny_checkpoint().tensors
    trained = {name: tensor + 0.01 for name, tensor in tensors.items()}
    again = ltx2.load(write_tiny_model(tmp_path / "tiny", tensors=trained), device="cpu")
    assert again.fingerprint == pipeline.fingerprint
    assert again.differences_from(clip.recipe) == (
        "The recipe was made with other weights of tiny.",
    )
    renamed = clip.recipe.model_copy(update={"model": "puppet"})
    assert pipeline.differences_from(renamed) == (
        "The recipe was made with the model puppet, this is tiny.",
    )
    reshaped = clip.recipe.model_copy(update={"fingerprint": "0"})
    assert pipeline.differences_from(reshaped) == (
        "The recipe was made with another architecture of tiny.",
    )


def test_a_model_split_into_files_makes_the_same_clips(tmp_path, pipeline):
    model = write_tiny_model(tmp_path / "tiny")
    whole = CheckpointFile.open(model / "model.safetensors")
    tensors = whole.read(whole.tensors)
    shared = {n: t for n, t in tensors.items() if n.startswith(("vae.", "audio_vae.", "vocoder."))}
    own = {n: t for n, t in tensors.items() if n not in shared}
    metadata = {**whole.metadata, "companions": json.dumps(["shared.safetensors"])}
    save_checkpoint(model / "shared.safetensors", shared, {})
    save_checkpoint(model / "model.safetensors", own, metadata)
    clip = ltx2.load(model, device="cpu")(a_request())
    assert same(clip, pipeline(a_request()))
    assert clip.recipe == pipeline(a_request()).recipe


def test_a_disturbed_pass_without_a_block_to_disturb_is_refused(pipeline):
    with pytest.raises(RequestError, match="stg_blocks"):
        pipeline(a_request(video_guidance=Guidance(stg_scale=1.0)))


def test_a_seed_repeats_bit_for_bit_also_in_a_new_pipeline(folder, pipeline):
    first = pipeline(a_request(seed=5))
    pipeline(a_request(seed=6))
    assert same(pipeline(a_request(seed=5)), first)
    assert same(ltx2.load(folder, device="cpu")(a_request(seed=5)), first)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"prompt": "a yellow ball bounces"},
        {"negative_prompt": "a yellow ball"},
        {"num_steps": 3},
        {"video_guidance": Guidance(cfg_scale=4.0)},
        {"audio_guidance": Guidance(cfg_scale=4.0)},
        {"video_guidance": Guidance(cfg_scale=2.0, rescale=1.0)},
    ],
)
def test_whatever_is_asked_changes_the_clip(pipeline, change):
    assert not same(pipeline(a_request()), pipeline(a_request(**change)))


@pytest.mark.parametrize(
    "scales", [Guidance(stg_scale=1.0, stg_blocks=(1,)), Guidance(modality_scale=3.0)]
)
def test_passes_that_disturb_the_network_change_the_clip(pipeline, scales):
    plain = pipeline(a_request(video_guidance=Guidance()))
    assert not np.array_equal(pipeline(a_request(video_guidance=scales)).frames, plain.frames)


def test_guidance_of_one_modality_reaches_the_other_only_through_the_network(pipeline):
    """One step: the sound's estimate does not depend on the picture's scales."""
    plain = a_request(num_steps=1, video_guidance=Guidance(), audio_guidance=Guidance())
    guided = plain.model_copy(update={"video_guidance": Guidance(cfg_scale=5.0)})
    one, other = pipeline(plain), pipeline(guided)
    assert not np.array_equal(one.frames, other.frames)
    # Passes are asked together, which rounds differently.
    np.testing.assert_allclose(one.waveform, other.waveform, atol=1e-4)


def test_progress_names_every_stage_in_order_and_counts_every_step(pipeline):
    seen = []
    pipeline(a_request(num_steps=3), on_progress=seen.append)
    steps = [(p.stage, p.step, p.total) for p in seen]
    assert steps == [
        ("encode prompt", 0, 1),
        ("encode prompt", 1, 1),
        *(("denoise", step, 3) for step in range(4)),
        ("decode video", 0, 1),
        ("decode video", 1, 1),
        ("decode audio", 0, 1),
        ("decode audio", 1, 1),
    ]


def test_previews_show_every_step_but_the_last_and_leave_the_clip_as_it_is(pipeline):
    shown = []
    request = a_request(num_steps=3)
    clip = pipeline(request, on_preview=shown.append)
    assert [(preview.step, preview.total) for preview in shown] == [(1, 3), (2, 3)]
    for preview in shown:
        assert preview.frames.dtype == np.uint8
        assert preview.frames.shape[1:] == clip.frames.shape[1:]
        assert preview.frame_rate == clip.frame_rate
    same(clip, pipeline(request))


def test_a_preview_has_all_pictures_and_sound_where_there_is_time(pipeline, monkeypatch):
    monkeypatch.setattr(PreviewPlan, "affords_all", lambda plan: True)
    shown = []
    clip = pipeline(a_request(num_steps=2), on_preview=shown.append)
    (preview,) = shown
    assert preview.frames.shape == clip.frames.shape
    assert preview.waveform.shape == clip.waveform.shape
    assert preview.sample_rate == clip.sample_rate


def test_cancelling_stops_before_the_next_step(pipeline):
    seen = []

    def after_one_step():
        return any(p.stage == "denoise" and p.step == 1 for p in seen)

    with pytest.raises(GenerationCancelled):
        pipeline(a_request(num_steps=5), on_progress=seen.append, should_cancel=after_one_step)
    assert (seen[-1].stage, seen[-1].step) == ("denoise", 1)
    with pytest.raises(GenerationCancelled):
        pipeline(a_request(), should_cancel=lambda: True)


def test_a_prompt_is_read_once_and_the_text_encoder_only_when_needed(folder, monkeypatch):
    pipeline = ltx2.load(folder, device="cpu")
    load_text, read = pipeline._load_text, []

    def counted():
        text = load_text()

        class Counting:
            def contexts(self, prompts):
                read.extend(prompts)
                return text.contexts(prompts)

        return Counting()

    pipeline._load_text = counted
    assert pipeline._text is None
    off = {"video_guidance": Guidance(), "audio_guidance": Guidance()}
    pipeline(a_request(prompt="one", **off))
    assert read == ["one"]
    pipeline(a_request(prompt="one", negative_prompt="bad"))
    pipeline(a_request(prompt="one", negative_prompt="bad", seed=2))
    assert read == ["one", "bad"]


def test_the_text_encoder_of_a_large_model_makes_room_once_the_prompt_is_read(
    folder, pipeline, monkeypatch
):
    pipeline(a_request())
    assert pipeline._text is not None
    monkeypatch.setattr("ltx2.pipeline.is_small", lambda network: False)
    large = ltx2.load(folder, device="cpu")
    load_text, alive, loaded = large._load_text, [], []

    def watched():
        text = load_text()
        loaded.append(weakref.ref(text.encoder.model))
        return text

    large._load_text = watched

    def note(progress):
        if progress.stage == "denoise" and progress.step:
            gc.collect()
            alive.extend(reference() is not None for reference in loaded)

    assert same(large(a_request(), on_progress=note), pipeline(a_request()))
    assert alive
    assert not any(alive)
    large(a_request(seed=2))
    assert len(loaded) == 1


def test_too_little_memory_for_the_text_encoder_is_not_blamed_on_the_clip(folder):
    pipeline = ltx2.load(folder, device="cpu")

    def out_of_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 24 GiB")

    pipeline._load_text = out_of_memory
    with pytest.raises(ResourceError, match="text encoder"):
        pipeline(a_request())


def test_only_clips_beyond_one_tile_are_decoded_in_tiles(pipeline, monkeypatch):
    vae = pipeline.networks.video_vae
    latents = torch.randn(1, vae.latent_channels, 2, 6, 6)
    with torch.inference_mode():
        whole = decode_video(pipeline.networks, latents)
        assert torch.equal(whole, vae.decode(latents))
        side = 4 * vae.compression.spatial
        tile = TileSize(side, vae.compression.spatial)
        monkeypatch.setattr("ltx2.generation.codec.SPATIAL_TILE", tile)
        monkeypatch.setattr("ltx2.generation.codec.TEMPORAL_TILE", TileSize(8, 0))
        tiled = decode_video(pipeline.networks, latents)
        expected = vae.decode_tiled(latents, spatial=tile, temporal=TileSize(8, 0))
    assert torch.equal(tiled, expected)
    assert not torch.equal(tiled, whole)


def test_a_noise_conditioned_decoder_gets_noise_from_the_seed(pipeline):
    values = copy.deepcopy(tiny_config())
    values["vae"] |= {"timestep_conditioning": True}
    torch.manual_seed(0)
    vae = build_video_vae(values).eval()
    networks = replace(pipeline.networks, video_vae=vae)
    latents = torch.randn(1, vae.latent_channels, 2, 3, 3)

    def decoded(seed):
        generator = None if seed is None else torch.Generator("cpu").manual_seed(seed)
        with torch.inference_mode():
            return decode_video(networks, latents, generator)

    assert torch.equal(decoded(1), decoded(1))
    assert not torch.equal(decoded(1), decoded(2))
    with torch.inference_mode():
        assert torch.equal(decoded(None), vae.decode(latents))


def test_sound_is_decoded_without_the_short_floats_of_cuda(pipeline):
    seen = []

    def note(*_):
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))

    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    modules = (pipeline.networks.vocoder, pipeline.networks.audio_vae.decoder)
    handles = [module.register_forward_pre_hook(note) for module in modules]
    pipeline(a_request())
    for handle in handles:
        handle.remove()
    assert seen == [(False, True)] * 2
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before


def test_more_tokens_than_the_model_reads_are_refused(pipeline):
    with pytest.raises(RequestError, match="tokens"):
        pipeline(a_request(prompt="hello " * 1000))


def test_a_block_that_is_not_there_is_refused(pipeline):
    with pytest.raises(RequestError, match="blocks 0 to 1"):
        pipeline(a_request(video_guidance=Guidance(stg_scale=1.0, stg_blocks=(29,))))


def test_a_distilled_model_walks_its_own_noise_levels(pipeline):
    distilled = with_profile(pipeline, sigmas=DISTILLED_SIGMAS, num_steps=8)
    seen = []
    distilled(a_request(), on_progress=seen.append)
    assert max(p.total for p in seen) == 8
    with pytest.raises(RequestError, match="exactly 8"):
        distilled(a_request(num_steps=20))


def test_values_that_are_not_finite_are_an_error_and_never_a_clip(folder):
    broken = ltx2.load(folder, device="cpu")
    broken.networks.transformer.proj_out.bias.fill_(float("nan"))
    with pytest.raises(GenerationError, match="step 1 of 2"):
        broken(a_request())
    broken = ltx2.load(folder, device="cpu")
    broken.networks.vocoder.conv_post.bias.fill_(float("nan"))
    with pytest.raises(GenerationError, match="not finite"):
        broken(a_request())


@pytest.mark.parametrize(
    ("request_changes", "advice"),
    [
        ({"num_frames": 25}, "1.0 s"),
        ({"num_frames": 9, "width": 128, "height": 128}, "64 x 48"),
        ({"num_frames": 9}, "bfloat16"),
    ],
)
def test_running_out_of_memory_names_the_cheapest_change(folder, request_changes, advice):
    pipeline = ltx2.load(folder, device="cpu")

    def out_of_memory(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    pipeline.networks.transformer.forward = out_of_memory
    with pytest.raises(ResourceError, match=advice):
        pipeline(a_request(**request_changes))


def test_a_profile_that_contradicts_the_autoencoder_is_refused(pipeline):
    with pytest.raises(CheckpointError, match="16 px and 8 frames"):
        with_profile(pipeline, spatial_multiple=8)
    with pytest.raises(CheckpointError, match="4 frames"):
        with_profile(pipeline, temporal_multiple=4)


def test_an_unknown_device_or_dtype_is_refused(folder):
    for device in ("gpu", "cuda:99"):
        with pytest.raises(RequestError, match=device):
            ltx2.load(folder, device=device)
    with pytest.raises(RequestError, match="int3"):
        ltx2.load(folder, device="cpu", dtype="int3")


def test_a_model_without_its_text_encoder_asks_for_it(tmp_path, folder):
    alone = tiny_checkpoint().write(tmp_path / "alone.safetensors")
    with pytest.raises(CheckpointError, match="text_encoder"):
        ltx2.load(alone, device="cpu")
    assert same(
        ltx2.load(alone, text_encoder=folder / "text_encoder", device="cpu")(a_request()),
        ltx2.load(folder, device="cpu")(a_request()),
    )


def test_a_text_encoder_of_another_depth_is_refused(tmp_path, folder):
    deeper = tiny_checkpoint(num_states=5).write(tmp_path / "deeper.safetensors")
    pipeline = ltx2.load(deeper, text_encoder=folder / "text_encoder", device="cpu")
    with pytest.raises(CheckpointError, match="384 values"):
        pipeline(a_request())


def test_bfloat16_gives_nearly_the_same_clip(folder, pipeline):
    exact = pipeline(a_request()).frames.astype(float)
    rough = ltx2.load(folder, device="cpu", dtype="bfloat16")(a_request()).frames.astype(float)
    unrelated = pipeline(a_request(seed=9)).frames.astype(float)
    assert np.abs(exact - rough).mean() < 0.2 * np.abs(exact - unrelated).mean()


def test_sound_is_computed_in_float32_whatever_the_dtype(folder):
    file = CheckpointFile.open(folder / "model.safetensors")
    networks = load_networks(file, dtype=torch.bfloat16, device="cpu")
    assert networks.vocoder.conv_pre.weight.dtype == torch.float32
    assert networks.audio_vae.decoder.conv_in.conv.weight.dtype == torch.float32
    assert networks.transformer.dtype == torch.bfloat16


def test_networks_stay_as_the_file_has_them(pipeline):
    before = {k: v.clone() for k, v in pipeline.networks.transformer.state_dict().items()}
    pipeline(a_request(prompt="a yellow ball bounces"))
    after = pipeline.networks.transformer.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_requests_are_not_changed(pipeline):
    request = a_request()
    copy = request.model_copy()
    pipeline(request)
    assert request == copy


@pytest.mark.parametrize("quantization", ["int8", "fp8"])
def test_a_model_in_8_bits_makes_nearly_the_same_clip_with_every_layer_of_blocks_in_them(
    folder, pipeline, quantization
):
    narrow = ltx2.load(folder, device="cpu", quantization=quantization)
    layers = [m for m in narrow.networks.transformer.modules() if isinstance(m, QuantizedLinear)]
    assert len(layers) == 2 * 28
    text = narrow._load_text().encoder.model
    assert all(isinstance(layer.mlp.up_proj, QuantizedLinear) for layer in text.layers)
    clip, whole = narrow(a_request(num_frames=9)), pipeline(a_request(num_frames=9))
    difference = np.abs(clip.frames.astype(float) - whole.frames)
    assert 0 < difference.mean() < 5.0


def test_an_unknown_quantization_is_refused(folder):
    with pytest.raises(RequestError, match="'int4' is unknown"):
        ltx2.load(folder, quantization="int4")
