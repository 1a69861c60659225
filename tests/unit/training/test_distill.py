"""Distillation: the student learns where its teacher arrives, from where it will itself start."""

import copy
from itertools import count

import pytest
import torch
from torch import nn

from ltx2.diffusion.guidance import Pass
from ltx2.diffusion.state import Joint
from ltx2.geometry import VideoCompression
from ltx2.model.config import TransformerConfig
from ltx2.model.transformer import Transformer
from ltx2.request import Guidance
from ltx2.training.distill import NO_GUIDANCE, Distillation
from tests.tiny_checkpoint import tiny_config

SIGMAS = (1.0, 0.7, 0.3, 0.0)


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return Transformer(TransformerConfig.from_metadata(tiny_config())).requires_grad_(False)


def loss_of(student, teacher, *, guidance=NO_GUIDANCE, substeps=1, own_start_share=0.0, seed=0):
    sizes = tiny_config()["transformer"]
    channels, audio_channels = sizes["in_channels"], sizes["audio_in_channels"] // 16
    fixed = torch.Generator().manual_seed(3)

    def noise(*shape):
        return torch.randn(2, *shape, generator=fixed)

    latents = Joint(noise(channels, 2, 2, 2), noise(audio_channels, 9, 16))
    asked, unasked = (Joint(*(noise(4, d) for d in context_widths())) for _ in range(2))
    distillation = Distillation(
        student,
        teacher,
        VideoCompression(8, 32),
        8.0,
        SIGMAS,
        guidance,
        substeps=substeps,
        own_start_share=own_start_share,
    )
    return distillation.loss(
        latents,
        asked,
        {Pass.CONDITIONAL: asked, Pass.NEGATIVE: unasked},
        torch.Generator().manual_seed(seed),
    )


def context_widths():
    sizes = tiny_config()["transformer"]
    return (sizes["caption_channels"],) * 2


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_one_plain_step(teacher):
    for seed in range(4):
        loss = loss_of(copy.deepcopy(teacher), teacher, seed=seed)
        assert float(loss.total) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "harder",
    [{"substeps": 3}, {"guidance": Joint(Guidance(cfg_scale=3.0), Guidance(cfg_scale=3.0))}],
)
def test_smaller_steps_and_guidance_are_what_there_is_to_learn(teacher, harder):
    loss = loss_of(copy.deepcopy(teacher), teacher, **harder)
    assert float(loss.video) > 1e-6
    assert float(loss.audio) > 1e-6


def test_training_brings_the_student_to_where_the_guided_teacher_arrives(teacher):
    guidance = Joint(Guidance(cfg_scale=3.0, rescale=0.5), Guidance(cfg_scale=2.0))
    student = copy.deepcopy(teacher).requires_grad_(True)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)

    def total(seed):
        return loss_of(student, teacher, guidance=guidance, substeps=2, seed=seed).total

    before = float(total(0).detach())
    for _ in range(30):
        optimizer.zero_grad()
        loss = total(0)
        loss.backward()
        optimizer.step()
    assert float(total(0).detach()) < before / 3


def test_a_student_that_starts_by_itself_is_asked_once_more_without_gradients(teacher):
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.sigmas, self.with_gradients = copy.deepcopy(teacher), [], []

        def forward(self, video, audio, *rest):
            self.sigmas.append(round(float(video.sigma[0]), 4))
            self.with_gradients.append(torch.is_grad_enabled())
            return self.inner(video, audio, *rest)

    for seed in count():
        student = Counted()
        loss_of(student, teacher, own_start_share=1.0, seed=seed)
        if len(student.sigmas) == 2:
            break
    segment = SIGMAS.index(student.sigmas[1])
    assert student.sigmas == [SIGMAS[segment - 1], SIGMAS[segment]]
    assert student.with_gradients == [False, True]
