import json

import pytest

from ltx2.errors import CheckpointError
from ltx2.model.text.sentencepiece import Kind, gemma_tokenizer, read_pieces
from tests.conftest import ROOT

FOLDER = ROOT / "tests" / "fixtures" / "sentencepiece"
MODEL = (FOLDER / "tokenizer.model").read_bytes()
EXPECTED = json.loads((FOLDER / "expected.json").read_text("utf-8"))
"""A model that SentencePiece trained with Gemma's options, and what it made of texts."""


def test_pieces_have_their_places_scores_and_kinds():
    pieces = read_pieces(MODEL)
    assert len(pieces) == 460
    assert [piece.text for piece in pieces[:4]] == ["<pad>", "<eos>", "<bos>", "<unk>"]
    assert [piece.kind for piece in pieces[:4]] == [
        *(Kind.CONTROL, Kind.CONTROL, Kind.CONTROL),
        Kind.UNKNOWN,
    ]
    assert sum(piece.kind == Kind.BYTE for piece in pieces) == 256
    merged = [piece for piece in pieces if piece.kind == Kind.NORMAL]
    assert merged[0].score == 0.0
    assert merged[-1].score < -100.0


@pytest.mark.parametrize("text", EXPECTED)
def test_texts_become_the_numbers_that_sentencepiece_makes_of_them(text):
    assert gemma_tokenizer(MODEL).encode(text).ids == EXPECTED[text]


@pytest.mark.parametrize(
    "damaged", [b"", MODEL[:-3], b"\xff" * 40, b"\x0f\x01", MODEL[: MODEL.index(b"<bos>") - 3]]
)
def test_a_damaged_tokenizer_is_refused(damaged):
    with pytest.raises(CheckpointError, match="tokenizer inside the text encoder"):
        gemma_tokenizer(damaged)
