"""Draws the pictures in docs/images, all from fits made now: ``python docs/make_picture.py`` (needs melogit[plot])."""

from __future__ import annotations

from html import escape
from pathlib import Path

import melogit as me

IMAGES = Path(__file__).parent / "images"
FORMULA = "remission ~ Age + LengthofStay + FamilyHx + IL6 + CRP + CancerStage + Experience + (1 | HID/DID)"
CHARACTER, LINE, MARGIN = 8.4, 19.0, 18.0  # pixels


def draw(lines: list[str], commands: int) -> str:
    """Turn lines of text into an SVG, the first ``commands`` of them in colour."""
    width = max(map(len, lines)) * CHARACTER + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    texts = []
    for number, line in enumerate(lines):
        if line.strip():
            # textLength keeps the columns straight whatever font the reader has
            style = ' class="command"' if number < commands else ""
            y = MARGIN + (number + 0.75) * LINE
            length = len(line) * CHARACTER
            texts.append(
                f'<text x="{MARGIN:g}" y="{y:g}" textLength="{length:g}" lengthAdjust="spacingAndGlyphs"'
                f'{style} xml:space="preserve">{escape(line)}</text>'
            )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">',
            '<style>text { font: 14px Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; fill: #222; }',
            ".command { fill: #1a5a9c; font-weight: bold; } rect { stroke: #ccc; }</style>",
            f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="8" fill="#fdfdfb"/>',
            *texts,
            "</svg>\n",
        ]
    )


def draw_table(fit: me.Results) -> None:
    """The table in the README, as the command line prints it."""
    table = str(fit)
    start, end = FORMULA.split(" + CancerStage")
    command = [f'$ melogit fit hospital "{start}', f'                       + CancerStage{end}"']
    text = draw([*command, "", *table.splitlines()], len(command))
    (IMAGES / "hospital.svg").write_text(text, encoding="utf-8")


def draw_figures(fit: me.Results) -> None:
    """The figures of margins.md and power.md."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "melogit"  # the same picture has the same bytes
    import matplotlib.pyplot as plt

    axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")[1]
    fit.margins(at={"LengthofStay": range(1, 11), "CancerStage": ["I", "IV"]}).plot(ax=axes[0])
    fit.margins(dydx="*").plot(ax=axes[1])
    axes[0].figure.savefig(IMAGES / "margins.svg", metadata={"Date": None})
    plan = me.power(
        clusters=[10, 20, 30, 40, 50, 60],
        cluster_size=25,
        baseline=0.30,
        odds_ratio=[1.5, 2.0],
        icc=0.05,
        test="t",
        seed=1,
    )
    plan.plot().figure.savefig(IMAGES / "power.svg", metadata={"Date": None})


def main() -> None:
    """Fit the hospital example and draw."""
    IMAGES.mkdir(exist_ok=True)
    fit = me.melogit(FORMULA, me.load_dataset("hospital"))
    draw_table(fit)
    draw_figures(fit)


if __name__ == "__main__":
    main()
