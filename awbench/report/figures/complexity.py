"""What attention costs, counted."""

from __future__ import annotations

from awbench.records import Records
from awbench.report.figures.figure import Figure, colour_of, new_figure
from awbench.variants import list_variants
from awbench.verdicts.counts import ComplexityIndex

_PANELS = (("params", "added parameters (%)"), ("macs", "added multiply-accumulates (%)"))


def complexity_figure(records: Records) -> Figure | None:
    """What each attention costs beyond the plain ImageNet network: parameters, MACs, in percent.

    Returns:
        None without a record; variants without one are left out.
    """
    index = ComplexityIndex(records.of_kind("complexity"))
    variants = [
        v for v in list_variants("classification") if v.architecture.family == "imagenet" and v.architecture.is_resnet
    ]
    depths = sorted({variant.architecture.depth for variant in variants})
    settings = list(dict.fromkeys(v.setting for v in variants if v.setting != "plain"))
    with new_figure(
        "complexity",
        "What attention adds to the plain network, 224 x 224, v1.5",
        "Parameters and multiply-accumulates of convolutions and linear layers, in percent of the plain network's; "
        "exact counts.",
        5.2,
    ) as figure:
        panels = figure.drawing.subplots(len(_PANELS), 1)
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
                    figure.describe(bar, f"{variant.name}: {ours:,} {metric}, {base:,} of {variant.plain}")
            panel.set_xticks(range(len(depths)), [str(depth) for depth in depths])
            panel.set_ylabel(label)
        panels[-1].set_xlabel("ResNet depth")
        figure.add_legend(dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True)))
    return figure if figure.data else None
