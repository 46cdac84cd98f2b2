"""The quantities that sources publish, their units, and what sources call the data they are measured on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A quantity that sources publish.

    Attributes:
        kind: the table it belongs to, and the convention that must be stated with it.
        units: unit -> how many base units (the first one's) it is.
    """

    kind: str
    units: dict[str, int]


_PARAMETERS = Metric("complexity", {"parameters": 1, "M parameters": 10**6, "Mi parameters": 2**20})
METRICS: dict[str, Metric] = {
    "params": _PARAMETERS,
    "trainable_params": _PARAMETERS,
    "macs": Metric("complexity", {"MAC": 1, "MMAC": 10**6, "GMAC": 10**9, "GiMAC": 2**30}),
    **dict.fromkeys(("top1", "top5", "top1_error", "top5_error"), Metric("accuracy", {"percent": 1})),
    **dict.fromkeys(
        ("box_ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"), Metric("detection", {"AP points": 1})
    ),
    "train_time": Metric("latency", {"s/iteration": 1}),
    "inference_time": Metric("latency", {"s/image": 1}),
    "train_memory": Metric("latency", {"GB": 1}),
    "throughput": Metric("latency", {"images/s": 1}),
    "train_images_per_s": Metric("latency", {"images/s": 1}),
}


def measured_metrics(kind: str) -> list[str]:
    """Names of the metrics of a kind that records hold: not an error rate but the accuracy."""
    return [name for name, metric in METRICS.items() if metric.kind == kind and not name.endswith("_error")]


# What the words of numbers and claims for their data are called here; runs on anything else are no evidence.
CLAIM_DATASETS = {
    "ImageNet-1k val": "imagenet",
    "CIFAR-10 test": "cifar10",
    "CIFAR-100 test": "cifar100",
    "Fashion-MNIST test": "fashion-mnist",
    "COCO val2017": "coco",
}
