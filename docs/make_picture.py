"""Draws docs/images/hospital.svg, the picture in the README, from a fit made now: ``python docs/make_picture.py``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

import melogit as me

TARGET = Path(__file__).parent / "images" / "hospital.svg"
FORMULA = "remission ~ Age + LengthofStay + FamilyHx + IL6 + CRP + CancerStage + Experience + (1 | HID/DID)"

# Plain: no window decoration, and no font fetched from elsewhere.
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
<rect fill="#fdfdfb" stroke="#c8c8c0" x="1" y="1" width="{terminal_width}" height="{terminal_height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main() -> None:
    """Fit, print into a recording terminal, export."""
    text = str(me.melogit(FORMULA, me.load_dataset("hospital")))
    command = f'$ melogit fit hospital "{FORMULA}"'
    width = max(len(line) for line in [command, *text.splitlines()]) + 2
    console = Console(record=True, width=width, file=open("/dev/null", "w"))
    console.print(Text(command, style="bold #1a5a9c"), Text(text, style="#222222"), sep="\n\n")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(console.export_svg(code_format=FRAME, unique_id="hospital"), encoding="utf-8")


if __name__ == "__main__":
    main()
