"""Frozen linear layers with weights in fewer bits; they compute in the type of the activations.

Every layer multiplies by what its bits stand for, made anew each time and not kept, so that memory
holds the bits alone.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EightBits = Literal["int8", "fp8"]
"""Ways to store a weight in 8 bits: whole numbers, or floating point (e4m3)."""

_LARGEST = {"int8": 127.0, "fp8": 448.0}
_TYPES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
SMALLEST_SCALE = 1e-12
"""Of a channel that is all zeros."""

NVFP4_BLOCK = 16
"""Inputs that share a scale."""

E2M1_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Magnitudes of four bits with a sign, two of exponent and one of mantissa."""


class _Bits(nn.Module):
    """A linear layer whose buffers are what a file holds of a weight, under the file's names.

    Args:
        bits: of the weight and its scales, by name.
        bias: [out], or None.
        dtype: what `dequantized` tells the weight in.
    """

    weight: Tensor
    weight_scale: Tensor

    def __init__(
        self, bits: Mapping[str, Tensor], bias: nn.Parameter | None, *, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.dtype = dtype
        for name, tensor in bits.items():
            self.register_buffer(name, tensor)
        self.bias = bias

    @property
    def out_features(self) -> int:
        """Width of the output."""
        return self.weight.shape[0]

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return self.weight.shape[1]

    @property
    def scale(self) -> Tensor:
        """What outputs are multiplied with, [out] or [1]."""
        raise NotImplementedError

    def unscaled(self, dtype: torch.dtype) -> Tensor:
        """The weight [out, in] over `scale`, made anew."""
        raise NotImplementedError

    def dequantized(self) -> Tensor:
        """What the layer multiplies with [out, in], made anew."""
        return (self.unscaled(torch.float32) * self.scale.unsqueeze(-1)).to(self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out], in the type that autocast asks for."""
        device = x.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        out = _times(x, self.unscaled, self.scale)
        return out if self.bias is None else out + self.bias.to(out.dtype)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Moves bits, and leaves them the type that they are of."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, bits in before.items():
            after = self.get_buffer(name)
            if after.dtype != bits.dtype:
                self.register_buffer(name, bits.to(after.device))
        return self


class QuantizedLinear(_Bits):
    """W = Q * scale, Q in 8 bits, with one scale for all or for each output channel.

    Q is exact in bfloat16 as in float32, so products are as exact as with W itself.

    Its bits are `weight` [out, in], int8, a float8, or bytes that stand for float8_e4m3fn, and
    `weight_scale` of one value or `out` values.
    """

    @classmethod
    def of(cls, linear: nn.Linear, kind: EightBits = "int8") -> "QuantizedLinear":
        """The layer in 8 bits, with one scale for each output channel."""
        weight = linear.weight.detach()
        return cls(quantize(weight, kind), linear.bias, dtype=linear.weight.dtype)

    @property
    def scale(self) -> Tensor:
        """What outputs are multiplied with, [out] or [1]."""
        return self.weight_scale.reshape(-1).float()

    def unscaled(self, dtype: torch.dtype) -> Tensor:
        """Q [out, in]."""
        bits = self.weight
        if bits.dtype == torch.uint8:
            bits = bits.view(torch.float8_e4m3fn)
        is_slow = bits.dtype == torch.float8_e4m3fn and bits.device.type == "cpu"
        return e4m3_to_bfloat16(bits) if is_slow and dtype == torch.bfloat16 else bits.to(dtype)


class NVFP4Linear(_Bits):
    """W = Q * scales * scale, Q in 4 bits (e2m1), with scales (e4m3) of each 16 inputs.

    Q times its scales has 6 bits of mantissa at most and is exact in bfloat16.

    Its bits are `weight` [out, in / 2], bytes of which the higher four bits come first,
    `weight_scale`, e4m3 in tiles as `untile_scales` takes them, and `weight_scale_2` of one value.
    """

    weight_scale_2: Tensor

    @property
    def in_features(self) -> int:
        """Width of the input."""
        return 2 * self.weight.shape[1]

    @property
    def scale(self) -> Tensor:
        """What outputs are multiplied with, [1]."""
        return self.weight_scale_2.reshape(1).float()

    def unscaled(self, dtype: torch.dtype) -> Tensor:
        """Q times its scales [out, in]."""
        rows, half = self.weight.shape
        tiles = self.weight_scale.view(torch.float8_e4m3fn)
        scales = untile_scales(tiles, rows, 2 * half // NVFP4_BLOCK).to(dtype)
        numbers = F.embedding(self.weight.int(), _pairs(dtype, self.weight.device))
        blocks = numbers.view(rows, -1, NVFP4_BLOCK)  # [out, in / 16, 16]
        return (blocks * scales.unsqueeze(-1)).flatten(1)


Quantized = QuantizedLinear | NVFP4Linear


def e4m3_to_bfloat16(numbers: Tensor) -> Tensor:
    """The same numbers, exactly; on a CPU twice as fast as PyTorch's own conversion.

    Exponent and mantissa are moved to where bfloat16 has them, whose exponents begin 120 lower.
    """
    bits = numbers.view(torch.int8).to(torch.int16)
    sign = bits & -0x8000
    bits.bitwise_and_(0x7F).bitwise_left_shift_(4).bitwise_or_(sign)
    return bits.view(torch.bfloat16).mul_(2.0**120)


def quantize(weight: Tensor, kind: EightBits) -> dict[str, Tensor]:
    """Bits of a `QuantizedLinear` for a weight [out, in], with the scale of each output channel."""
    weight = weight.float()
    scale = (weight.abs().amax(dim=1) / _LARGEST[kind]).clamp_min(SMALLEST_SCALE)
    values = weight / scale[:, None]
    if kind == "int8":
        values.round_()
    return {"weight": values.to(_TYPES[kind]), "weight_scale": scale}


def quantize_linears(
    module: nn.Module, kind: EightBits, should: Callable[[str, nn.Linear], bool]
) -> None:
    """Puts layers in 8 bits in the place of linear ones, where `should` says so of name and layer.

    One weight at a time is there twice.
    """
    for name, linear in linears_of(module).items():
        if should(name, linear):
            put(module, name, QuantizedLinear.of(linear, kind))


def linears_of(module: nn.Module) -> dict[str, nn.Linear]:
    """All plain linear layers by name."""
    return {name: m for name, m in module.named_modules() if isinstance(m, nn.Linear)}


def put(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Replaces the part of a module that has a dotted name."""
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, layer)


def untile_scales(tiled: Tensor, rows: int, blocks: int) -> Tensor:
    """Scales [rows, blocks] of NVFP4 from the tiles that matrix units read them in.

    A tile holds 128 rows of 4 blocks: row r and block c of it lie at 16 (r mod 32) + 4 (r div 32)
    + c, and tiles follow each other along the blocks first.
    """
    across = -(-blocks // 4)
    tiles = tiled.reshape(-1, across, 32, 4, 4)  # [row tiles, block tiles, r mod 32, r div 32, c]
    plain = tiles.permute(0, 3, 2, 1, 4).reshape(-1, 4 * across)
    return plain[:rows, :blocks].contiguous()


def _pairs(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Both numbers of every byte, [256, 2]."""
    magnitudes = torch.tensor(E2M1_VALUES, dtype=dtype, device=device)
    numbers = torch.cat([magnitudes, -magnitudes])
    first, second = torch.meshgrid(numbers, numbers, indexing="ij")
    return torch.stack([first, second], dim=-1).flatten(0, 1)


Unscaled = Callable[[torch.dtype], Tensor]
"""Makes Q [out, in] in a type."""


def _times(x: Tensor, unscaled: Unscaled, scale: Tensor) -> Tensor:
    """X (Q scale)^T for x [..., in] and scale [out] or [1], float32."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _product(x, unscaled, scale)
    out: Tensor = _Product.apply(x, unscaled, scale)
    return out


def _product(x: Tensor, unscaled: Unscaled, scale: Tensor) -> Tensor:
    if x.dtype == torch.float16:  # whose range sums of Q would leave
        return F.linear(x, unscaled(x.dtype) * scale.to(x.dtype).unsqueeze(-1))
    # In place: a scale in bfloat16 would be wrong by up to 0.4 %, a product in float32 large.
    return F.linear(x, unscaled(x.dtype)).mul_(scale)


class _Product(torch.autograd.Function):
    """`_product` whose backward makes Q again instead of keeping it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, unscaled: Unscaled, scale: Tensor) -> Tensor:
        ctx.unscaled, ctx.scale = unscaled, scale
        return _product(x, unscaled, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        return (gradient * ctx.scale).to(gradient.dtype) @ ctx.unscaled(gradient.dtype), None, None
