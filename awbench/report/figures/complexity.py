"""What attention costs, counted."""

from __future__ import annotations

from matplotlib.figure import Figure

from awbench.records import RecordStore
from awbench.reference.compare import ComplexityIndex
from awbench.report.figures.picture import WIDTH_INCHES, Picture, add_legend, colour_of, style
from awbench.variants import list_variants

_PANELS = (("params", "added parameters (%)"), ("macs", "added multiply-accumulates (%)"))


def complexity_picture(store: RecordStore) -> Picture | None:
    """What each attention costs beyond the plain ImageNet ResNet: parameters, MACs, in percent.

    Returns:
        None without a record; variants without one are left out.
    """
    index = ComplexityIndex(store.load("complexity"))
    variants = [
        v for v in list_variants("classification") if v.architecture.family == "imagenet" and v.architecture.is_resnet
    ]
    depths = sorted({variant.architecture.depth for variant in variants})
    settings = list(dict.fromkeys(v.setting for v in variants if v.setting != "plain"))
    with style():
        figure = Figure(figsize=(WIDTH_INCHES, 5.2), layout="constrained")
        picture = Picture(
            "complexity",
            "What attention adds to the plain network, 224 x 224, v1.5",
            "Parameters and multiply-accumulates of convolutions and linear layers, in percent of the plain network's; "
            "exact counts.",
            figure,
        )
        panels = figure.subplots(len(_PANELS), 1)
        for panel, (metric, label) in zip(panels, _PANELS, strict=True):
            for position, setting in enumerate(settings):
                shift = (position - (len(settings) - 1) / 2) * 0.84 / len(settings)
                for variant in variants:
                    measured = index.get(variant.name, "v1.5", variant.architecture.image_size)
                    plain = index.get(variant.plain, "v1.5", variant.architecture.image_size)
                    if variant.setting != setting or not measured or not plain:
                        continue
                    ours, base = measured.values[metric], plain.values[metric]
                    (bar,) = panel.bar(
                        depths.index(variant.architecture.depth) + shift,
                        100 * (ours / base - 1),
                        width=0.77 / len(settings),
                        label=setting,
                        color=colour_of(setting),
                    )
                    picture.mark(bar, f"{variant.name}: {ours:,} {metric}, {base:,} of {variant.plain}")
            panel.set_xticks(range(len(depths)), [str(depth) for depth in depths])
            panel.set_ylabel(label)
        panels[-1].set_xlabel("ResNet depth")
        handles = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
        add_legend(figure, handles)
    return picture if picture.marks else None
