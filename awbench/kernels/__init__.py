"""How an AW-convolution is executed: one file a strategy, one operator in front."""

from awbench.kernels.operator import DEFAULT_STRATEGY, STRATEGIES, aw_conv2d, check_strategy

__all__ = ["DEFAULT_STRATEGY", "STRATEGIES", "aw_conv2d", "check_strategy"]
