"""The linear layer of all networks here."""

from torch import Tensor, nn
from torch.nn import functional as F

from ltx2.model import onednn


class Linear(nn.Linear):
    """`nn.Linear` by the fastest product that the device has."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., E]."""
        if onednn.serves(x, self.weight):
            return onednn.product(x.contiguous(), self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)
