"""The one residual network, for ImageNet, CIFAR and as a detector's backbone.

He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385; with grouped 3x3 convolutions ResNeXt,
arXiv 1611.05431; with wider ones Wide ResNet, arXiv 1605.07146. State-dict names
are torchvision's, so its weights load strictly, and a plain checkpoint initialises any variant.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from awbench.attention.placement import after_norm, in_place_of_convolution
from awbench.errors import UserError
from awbench.modules import modules
from awbench.variants import ModelOptions, Variant, placement_of

Convolution = Callable[..., nn.Module]
AttentionFactory = Callable[[int], nn.Module]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions: (N, C, H, W) -> (N, out_channels, H/stride, W/stride); both are out_channels wide."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        stride_placement: str,
        downsample: nn.Module | None,
        convolution: Convolution,
        attention: AttentionFactory | None,
    ) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, out_channels, 3, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.attention = attention(out_channels) if attention else nn.Identity()
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.attention(self.bn2(self.conv2(out)))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1: (N, C, H, W) -> (N, out_channels, H/stride, W/stride); the 3x3 is `width` wide.

    The stride is in the 3x3 ("v1.5", torchvision and the CBAM code) or in the first 1x1 ("v1", He et al.).
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        stride_placement: str,
        downsample: nn.Module | None,
        convolution: Convolution,
        attention: AttentionFactory | None,
    ) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if stride_placement == "v1" else (1, stride)
        self.conv1 = convolution(in_channels, width, 1, stride1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride2)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, out_channels, 1, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.attention = attention(out_channels) if attention else nn.Identity()
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.attention(self.bn3(self.conv3(out)))
        out += identity
        return self.relu(out)


class ZeroPadShortcut(nn.Module):
    """Shortcut of option A (He et al., section 3.3): subsampled input, new channels zero; no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class ResNet(nn.Module):
    """A residual network of the grid: (N, 3, H, W) -> logits (N, num_classes).

    ImageNet networks: 7x7 stem, max pooling, four stages, projection shortcuts. CIFAR-style
    ones: 3x3 stem, three stages, parameter-free shortcuts (He et al., section 4.2).

    Raises:
        UserError: an option does not fit the network.
    """

    def __init__(self, variant: Variant, options: ModelOptions) -> None:
        super().__init__()
        architecture = variant.architecture
        self.variant = variant
        self.options = options
        width = architecture.widths[0]
        self.stage_names = [f"layer{i + 1}" for i in range(len(architecture.widths))]
        if architecture.stem == "imagenet":
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(3, width, 3, stride=1, padding=1, bias=False)
            maxpool = nn.Identity()
        # In the order in which they run, as torchvision's: feature extractors go by it.
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = maxpool
        channels = width
        for index, name in enumerate(self.stage_names):
            stage, channels = self._make_stage(index, channels)
            self.add_module(name, stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        num_classes = options.num_classes or architecture.num_classes
        self.fc = nn.Linear(channels, num_classes)
        self._require_replaced()
        self._initialise()

    def _require_replaced(self) -> None:
        """Raise a UserError where a module in place of convolutions takes the place of none."""
        variant = self.variant
        if variant.convolution is None:
            return
        module = modules("convolution")[variant.convolution]
        if not any(isinstance(one, module.load()) for one in self.modules()):
            convolutions, stages, _ = placement_of(variant, self.options)
            raise UserError(
                f"{variant.name} would have no {module.title}-convolution: convolutions={convolutions} in stages "
                f"{','.join(map(str, stages))} selects none of its {len(self.stage_names)} stages' layers"
            )

    def _make_stage(self, index: int, in_channels: int) -> tuple[nn.Sequential, int]:
        architecture = self.variant.architecture
        block = BasicBlock if architecture.block == "basic" else Bottleneck
        out_channels = architecture.widths[index] * block.expansion
        blocks = []
        for position in range(architecture.blocks_per_stage[index]):
            stride = 2 if index > 0 and position == 0 else 1
            blocks.append(
                block(
                    in_channels,
                    architecture.inner_width(index),
                    out_channels,
                    stride,
                    self.options.stride_placement,
                    self._shortcut(in_channels, out_channels, stride),
                    self._convolution(stage=index + 1),
                    self._attention(),
                )
            )
            in_channels = out_channels
        return nn.Sequential(*blocks), out_channels

    def _shortcut(self, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
        if stride == 1 and in_channels == out_channels:
            return None
        if self.variant.architecture.stem == "cifar":
            return ZeroPadShortcut(in_channels, out_channels, stride)
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )

    def _convolution(self, stage: int) -> Convolution:
        """Makes the convolutions of one stage's blocks, attended ones where the options say so."""
        variant, attended, convolutions = self.variant, None, ""
        if variant.convolution:
            convolutions, stages, arguments = placement_of(variant, self.options)
            if stage in stages:
                attended = in_place_of_convolution(modules("convolution")[variant.convolution], arguments)

        def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int) -> nn.Module:
            groups = variant.architecture.groups if kernel_size == 3 else 1
            shape = (in_channels, out_channels, kernel_size, stride, kernel_size // 2, 1, groups)
            if attended and convolutions in ("all", f"{kernel_size}x{kernel_size}"):
                return attended(*shape)
            return nn.Conv2d(*shape, bias=False)

        return convolution

    def _attention(self) -> AttentionFactory | None:
        if self.variant.attention is None:
            return None
        return after_norm(modules("after_norm")[self.variant.attention], dict(self.options.attention_options))

    def _initialise(self) -> None:
        """torchvision's: He initialisation by fan-out for convolutions, norms at one and zero."""
        if self.fc.weight.is_meta:  # nothing to initialise, and counting the grid is a third faster
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():  # last: what a module's own paper or code prescribes
            initialise = getattr(module, "initialise", None)
            if initialise:
                initialise()

    def stages(self, x: Tensor) -> list[Tensor]:
        """The feature maps after each stage, finest first: what a detector's pyramid is built on."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = []
        for name in self.stage_names:
            x = getattr(self, name)(x)
            features.append(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.stages(x)[-1])
        return self.fc(torch.flatten(x, 1))
