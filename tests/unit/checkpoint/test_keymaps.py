import pytest
import torch

from ltx2.checkpoint.keymaps import TRANSFORMER_TO_DIFFUSERS, rename
from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import Transformer


def official_names():
    with torch.device("meta"):
        return list(Transformer(TransformerConfig(num_layers=2)).state_dict())


@pytest.mark.parametrize(
    ("official", "diffusers"),
    [
        ("patchify_proj.weight", "proj_in.weight"),
        ("audio_adaln_single.linear.bias", "audio_time_embed.linear.bias"),
        ("transformer_blocks.3.attn1.q_norm.weight", "transformer_blocks.3.attn1.norm_q.weight"),
        ("scale_shift_table", "scale_shift_table"),
        (
            "transformer_blocks.0.scale_shift_table_a2v_ca_video",
            "transformer_blocks.0.video_a2v_cross_attn_scale_shift_table",
        ),
    ],
)
def test_names_are_those_of_diffusers(official, diffusers):
    assert rename(official, TRANSFORMER_TO_DIFFUSERS) == diffusers


def test_no_two_tensors_get_the_same_name_and_the_way_back_exists():
    names = official_names()
    renamed = [rename(name, TRANSFORMER_TO_DIFFUSERS) for name in names]
    assert len(set(renamed)) == len(names)
    back = {new: old for old, new in TRANSFORMER_TO_DIFFUSERS.items()}
    assert [rename(name, back) for name in renamed] == names


def test_every_tensor_of_diffusers_transformer_is_reached():
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = diffusers.LTX2VideoTransformer3DModel(num_layers=2).state_dict()
    assert {rename(name, TRANSFORMER_TO_DIFFUSERS) for name in official_names()} == set(theirs)
