"""Draws docs/images/hospital.svg, the picture in the README, from a fit made now: ``python docs/make_picture.py``."""

from __future__ import annotations

from html import escape
from pathlib import Path

import melogit as me

TARGET = Path(__file__).parent / "images" / "hospital.svg"
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


def main() -> None:
    """Fit the hospital example and draw what the command line prints."""
    table = str(me.melogit(FORMULA, me.load_dataset("hospital")))
    start, end = FORMULA.split(" + CancerStage")
    command = [f'$ melogit fit hospital "{start}', f'                       + CancerStage{end}"']
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(draw([*command, "", *table.splitlines()], len(command)), encoding="utf-8")


if __name__ == "__main__":
    main()
