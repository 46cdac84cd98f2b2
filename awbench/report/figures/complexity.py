"""What attention costs, counted."""

from __future__ import annotations

from awbench.records import Records
from awbench.report.figures.figure import Figure, colour_of, new_figure
from awbench.variants import Variant, list_variants
from awbench.verdicts.counts import ComplexityIndex, CountedNetwork

_PANELS = (("params", "added parameters (%)"), ("macs", "added operations (%)"))
_GROUP, _WIDEST = 0.84, 0.2  # of a depth's bars side by side, and of one of them; depths are 1 apart
_FEWEST_SLOTS = 3  # of depths, so that few bars are no broader than many


def complexity_figure(records: Records) -> Figure | None:
    """What each attention costs beyond the plain ImageNet network: parameters, and operations, in percent.

    Returns:
        None without a record; variants, depths and settings without one are left out.
    """
    index = ComplexityIndex(records.of_kind("complexity"))
    variants = [
        v for v in list_variants("classification") if v.architecture.family == "imagenet" and v.architecture.is_resnet
    ]
    settings = list(dict.fromkeys(v.setting for v in variants if v.setting != "plain"))
    counted: list[tuple[Variant, CountedNetwork, CountedNetwork]] = []  # settings side by side
    for variant in sorted(variants, key=lambda v: settings.index(v.setting) if v.setting != "plain" else -1):
        size = variant.architecture.image_size
        ours, plain = index.get(variant.name, "v1.5", size), index.get(variant.plain, "v1.5", size)
        if ours and plain and variant.setting != "plain":
            counted.append((variant, ours, plain))
    depths = sorted({variant.architecture.depth for variant, *_ in counted})
    settings = [setting for setting in settings if any(variant.setting == setting for variant, *_ in counted)]
    width = min(_GROUP / max(len(settings), 1), _WIDEST)
    slots = max(len(depths), _FEWEST_SLOTS)
    with new_figure(
        "complexity",
        "What attention adds to the plain network, 224 x 224, v1.5",
        "In percent of the plain network's parameters, and of its multiply-accumulates of convolutions and linear "
        "layers: multiply-accumulates added (full colour), and on top of them (light) elementwise multiplications, "
        "which form AK or scale activations. Norms, pooling and gates are left out. Exact counts.",
        4.4,
    ) as figure:
        panels = figure.drawing.subplots(len(_PANELS), 1, sharex=True)

        def place(variant: Variant) -> float:
            shift = (settings.index(variant.setting) - (len(settings) - 1) / 2) * width
            return depths.index(variant.architecture.depth) + shift

        style = {"width": 0.92 * width}
        for panel, (metric, label) in zip(panels, _PANELS, strict=True):
            for variant, ours, plain in counted:
                value, base = ours.values[metric], plain.values[metric]
                colour = colour_of(variant.setting)
                (bar,) = panel.bar(
                    place(variant), 100 * (value / base - 1), label=variant.setting, color=colour, **style
                )
                figure.describe(bar, f"{variant.name}: {value:,} {metric}, {base:,} of {variant.plain}")
            panel.set_ylabel(label)
            panel.tick_params(labelbottom=True)
        middle = (len(depths) - 1) / 2
        panels[0].set_xticks(range(len(depths)), [str(depth) for depth in depths])
        panels[0].set_xlim(middle - slots / 2, middle + slots / 2)
        for variant, ours, plain in counted:
            added, base, colour = ours.elementwise(variant), plain.values["macs"], colour_of(variant.setting)
            if added is None:
                continue
            (bar,) = panels[1].bar(
                place(variant), 100 * added / base, bottom=100 * (ours.values["macs"] / base - 1), color=colour,
                alpha=0.45, **style,
            )  # fmt: skip
            figure.describe(bar, f"{variant.name}: {added:,} elementwise multiplications beside its macs")
        panels[-1].set_xlabel("ResNet depth")
        figure.add_legend(dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True)))
    return figure if figure.data else None
