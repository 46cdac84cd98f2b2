"""Records for tests that need one without measuring."""

from __future__ import annotations

from awbench.records import Quantity, Record


def make_record(**changes) -> Record:
    """A complexity record of a plain ResNet-50 with its true counts, or with `changes`."""
    fields = {
        "kind": "complexity",
        "variant": "resnet50",
        "options": {"stride_placement": "v1.5", "num_classes": 1000},
        "settings": {"image_size": 224, "cross_check": False},
        "inputs": {"source_sha256": "0" * 64},
        "values": {
            "params": Quantity(value=25_557_032, unit="parameters"),
            "macs": Quantity(value=4_089_184_256, unit="MAC"),
            "aw_kernel_forming": Quantity(value=0, unit="multiplications"),
            "activations": Quantity(value=11_114_984, unit="elements"),
            "elements.convolution_bias": Quantity(value=0, unit="elements"),
            "elements.normalisation": Quantity(value=11_113_984, unit="elements"),
            "elements.activation": Quantity(value=9_608_704, unit="elements"),
            "elements.pooling": Quantity(value=903_168, unit="elements"),
        },
        "environment": {"python": "3.11.7"},
        "started": "2026-01-01T00:00:00.000000Z",
        "finished": "2026-01-01T00:00:01.000000Z",
    }
    return Record(**{**fields, **changes})
