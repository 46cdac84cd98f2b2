"""How an AW-convolution is executed: one file per strategy, a choice among them, one operator in front."""

from awbench.kernels.operator import aw_conv2d, chosen_strategy
from awbench.kernels.strategies import DEFAULT_STRATEGY, STRATEGIES, check_strategy

__all__ = ["DEFAULT_STRATEGY", "STRATEGIES", "aw_conv2d", "check_strategy", "chosen_strategy"]
