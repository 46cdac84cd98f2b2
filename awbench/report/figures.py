"""Pictures from records."""

from __future__ import annotations

import io
from typing import Any

from awbench.records import RecordStore
from awbench.reference.compare import ComplexityIndex
from awbench.variants import list_variants


def complexity_figure(store: RecordStore, format: str) -> bytes:
    """What each attention costs beyond the plain ImageNet network: parameters, MACs, in percent.

    Args:
        store: holds the complexity records; variants without one are left out.
        format: "svg" or "png".
    """
    import matplotlib

    # Same records, same bytes: no date, no random ids.
    style: dict[Any, Any] = {
        "svg.hashsalt": "awbench",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    from matplotlib.figure import Figure

    index = ComplexityIndex(store.load("complexity"))
    variants = [v for v in list_variants("classification") if v.architecture.family == "imagenet"]
    depths = sorted({variant.depth for variant in variants})
    settings = list(dict.fromkeys(v.setting for v in variants if v.setting != "plain"))
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        panels = figure.subplots(1, 2)
        colours = matplotlib.colormaps["tab10"]
        for panel, (metric, label) in zip(
            panels, (("params", "added parameters (%)"), ("macs", "added multiply-accumulates (%)")), strict=True
        ):
            for position, setting in enumerate(settings):
                places, added = [], []
                for variant in variants:
                    measured = index.get(variant.name, "v1.5", variant.architecture.image_size)
                    plain = index.get(variant.plain, "v1.5", variant.architecture.image_size)
                    if variant.setting == setting and measured and plain:
                        places.append(
                            depths.index(variant.depth) + (position - (len(settings) - 1) / 2) * 0.84 / len(settings)
                        )
                        added.append(100 * (measured.values[metric] / plain.values[metric] - 1))
                panel.bar(places, added, width=0.77 / len(settings), label=setting, color=colours(position))
            panel.set_xticks(range(len(depths)), [str(depth) for depth in depths])
            panel.set_xlabel("ResNet depth")
            panel.set_ylabel(label)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
        figure.suptitle("What attention adds to the plain network, 224 x 224, v1.5")
        buffer = io.BytesIO()
        figure.savefig(buffer, format=format, dpi=150, metadata={"Date": None} if format == "svg" else None)
    return buffer.getvalue()
