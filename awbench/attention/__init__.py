"""Attention modules, one per file. Which of them exist as variants: `awbench.variants.ATTENTION_MODULES`."""

from awbench.attention.aw_convolution import AWAttention, AWConv2d
from awbench.attention.cbam import CBAM
from awbench.attention.squeeze_excitation import SqueezeExcitation

__all__ = ["CBAM", "AWAttention", "AWConv2d", "SqueezeExcitation"]
