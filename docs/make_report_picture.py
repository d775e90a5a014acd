"""Draws docs/images/report.png, the beginning of a report, with Chromium: ``python docs/make_report_picture.py``."""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

import melogit as me

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "images" / "report.png"
FORMULA = "remission ~ Age + LengthofStay + FamilyHx + IL6 + CRP + CancerStage + Experience + (1 | HID/DID)"
WIDTH, HEIGHT = 1000, 1500  # pixels


def main() -> None:
    """Fit, check, write the report and take a picture of its beginning."""
    sys.path.insert(0, str(ROOT / "tests" / "browser"))
    from chromium import Browser, find_browser

    program = find_browser()
    if program is None:
        sys.exit("This needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        me.melogit(FORMULA, me.load_dataset("hospital")).diagnose().to_html(page)
        browser = Browser(program, Path(folder))
        try:
            browser.open(page, WIDTH, HEIGHT)
            shot = browser.call("Page.captureScreenshot")["data"]
        finally:
            browser.close()
    Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB").quantize(64).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
