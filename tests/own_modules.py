"""Attention modules as somebody outside the project writes them."""

from __future__ import annotations

GOOD = '''
import torch
from torch import nn


class Gate(nn.Module):
    """A learned gate for each channel's mean."""

    awbench = {"name": "gate", "title": "My gate", "paper": "unpublished"}

    def __init__(self, channels: int, power: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.power = power

    def forward(self, x):
        return x * torch.sigmoid(self.power * self.scale * x.mean((2, 3)))[:, :, None, None]


class Dynamic(nn.Conv2d):
    awbench = {"name": "dyn", "title": "Dynamic", "slot": "convolution"}

    def __init__(self, *shape, hidden: int = 4, **kwargs) -> None:
        super().__init__(*shape, **kwargs)
        self.fc1 = nn.Linear(self.in_channels, hidden)
        self.fc2 = nn.Linear(hidden, self.out_channels)

    def forward(self, x):
        return super().forward(x) * torch.sigmoid(self.fc2(self.fc1(x.mean((2, 3)))))[:, :, None, None]
'''

BAD = """
import torch
from torch import nn


class Raises(nn.Module):
    def __init__(self, channels):
        raise RuntimeError("no GPU\\nsecond line")


class Wrong(nn.Module):
    def __init__(self):
        super().__init__()


class Falls(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x @ torch.ones(3, 3)


class Shrinks(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x[:, 1:]


class Silent(nn.Module):
    def __init__(self, channels):
        super().__init__()


class Plain:
    def __init__(self, channels):
        pass


class Strided(nn.Conv2d):
    awbench = {"slot": "convolution"}

    def forward(self, x):
        return super().forward(x)[:, :, ::2]


@torch.library.custom_op("awbench_test::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@double.register_fake
def _(x):
    return torch.empty_like(x)


class Uncounted(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return double(x)


class Misplaced(nn.Module):
    awbench = {"slot": "before"}


class Computed(nn.Module):
    awbench = dict(name="computed")


class Misspelt(nn.Module):
    awbench = {"titel": "Misspelt"}


class SE(nn.Module):
    pass
"""
