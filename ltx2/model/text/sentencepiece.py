"""Gemma's tokenizer from the file of SentencePiece, which ComfyUI carries inside of weights.

The file is a message of protocol buffers (https://protobuf.dev/programming-guides/encoding/) whose
first field repeats pieces: their text, score and kind
(https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto).
"""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from ltx2.errors import CheckpointError

SPACE = "▁"
"""What stands for a space in pieces."""

_NEXT_STEP = "Use an unchanged text encoder of Gemma 3."


class Kind(IntEnum):
    """What a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """A token: its text, how early it is merged (the highest first), and what it is for."""

    text: str
    score: float
    kind: int


def read_pieces(model: bytes) -> list[Piece]:
    """All pieces of a SentencePiece model; a piece's number is its place.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    try:
        pieces = [_piece(v) for field, v in _fields(model) if field == 1 and isinstance(v, bytes)]
    except (IndexError, ValueError, struct.error) as error:
        raise CheckpointError(
            f"The tokenizer inside the text encoder is damaged ({error}).", next_step=_NEXT_STEP
        ) from error
    if not pieces:
        raise CheckpointError(
            "The tokenizer inside the text encoder has no tokens.", next_step=_NEXT_STEP
        )
    return pieces


def gemma_tokenizer(model: bytes) -> Tokenizer:
    """The tokenizer of a SentencePiece model with pairs that are merged and bytes to fall back on.

    It puts the first token before a text and nothing behind it.

    Raises:
        CheckpointError: it is damaged, or not Gemma's.
    """
    pieces = read_pieces(model)
    numbers = {piece.text: number for number, piece in enumerate(pieces)}
    missing = [name for name in ("<pad>", "<bos>", "<unk>") if name not in numbers]
    if missing:
        raise CheckpointError(
            f"The tokenizer inside the text encoder has no {missing[0]}.", next_step=_NEXT_STEP
        )
    tokenizer = Tokenizer(
        models.BPE(
            vocab=numbers,
            merges=_merges(pieces, numbers),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    # Texts that are tokens whatever stands beside them; those of spaces once spaces are marked.
    tokenizer.add_tokens(
        [
            AddedToken(
                piece.text, normalized=SPACE in piece.text, special=piece.kind == Kind.CONTROL
            )
            for piece in pieces
            if piece.kind in (Kind.CONTROL, Kind.USER_DEFINED)
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", numbers["<bos>"])]
    )
    return tokenizer


def _merges(pieces: list[Piece], numbers: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of pieces that make another, those first that SentencePiece would merge first."""

    def is_normal(text: str) -> bool:
        return text in numbers and pieces[numbers[text]].kind == Kind.NORMAL

    ranked = sorted(
        (piece for piece in pieces if piece.kind == Kind.NORMAL), key=lambda piece: -piece.score
    )
    return [
        (piece.text[:cut], piece.text[cut:])
        for piece in ranked
        for cut in range(1, len(piece.text))
        if is_normal(piece.text[:cut]) and is_normal(piece.text[cut:])
    ]


def _piece(message: bytes) -> Piece:
    text, score, kind = "", 0.0, int(Kind.NORMAL)
    for field, value in _fields(message):
        if field == 1 and isinstance(value, bytes):
            text = value.decode()
        elif field == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif field == 3 and isinstance(value, int):
            kind = value
    return Piece(text, score, kind)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and values of the fields of a message: bytes, or a whole number."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            number, at = _varint(message, at)
            yield field, number
            continue
        if wire not in _SIZES and wire != 2:
            raise ValueError(f"a field of the unknown kind {wire}")
        size = _SIZES.get(wire)
        if size is None:
            size, at = _varint(message, at)
        if at + size > len(message):
            raise ValueError("it is cut off")
        yield field, message[at : at + size]
        at += size


_SIZES = {1: 8, 5: 4}
"""Bytes of values, by their kind on the wire; others say their own."""


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, the low ones first, and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of too many bytes")
