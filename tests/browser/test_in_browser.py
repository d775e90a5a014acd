"""The report in a real browser, opened from its file: it loads, it fits, it can be read, it prints."""

import re
from itertools import pairwise

import pytest
from chromium import Browser, find_browser

from invented_checks import HOSTILE, report
from melogit.cli.main import main
from melogit.plots.checks import as_svg
from melogit.report.page import build_page

SIZES = (1280, 390, 320)

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = Browser(find_browser(), tmp_path_factory.mktemp("browser"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("a folder with spaces") / "report.html"
    path.write_text(build_page(report(), draw=as_svg), encoding="utf-8")
    return path


def faults(browser):
    """What the page complained about."""
    wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")
    return [event for event in browser.events if event["method"] in wrong]


def fetched(browser):
    """Every address asked for but those within the page itself."""
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith("data:")]


def test_it_opens_without_errors_and_fetches_nothing(browser, page):
    browser.open(page)
    assert faults(browser) == []
    assert fetched(browser) == [page.as_uri()]


def test_names_from_the_data_are_shown_as_they_are_and_never_run(browser, page):
    browser.open(page)
    assert browser.run("document.scripts.length") == 0
    assert browser.run("document.querySelector('#check-hostile h3').innerText").startswith(HOSTILE)
    assert browser.run("document.title").endswith(HOSTILE)


def test_every_picture_is_there(browser, page):
    browser.open(page)
    drawn = browser.run(
        "[...document.querySelectorAll('figure svg')].map(svg => [svg.getBoundingClientRect().width,"
        "svg.getBoundingClientRect().height, svg.querySelectorAll('path, use, image').length,"
        "svg.getAttribute('role'), svg.getAttribute('aria-label').length])"
    )
    wanted = 1 + sum(len(check.pictures) for check in report().checks)  # the model has one of its own
    assert len(drawn) == wanted == browser.run("document.querySelectorAll('figure figcaption').length")
    for width, height, marks, role, words in drawn:
        assert width > 200 and height > 100 and marks > 5 and role == "img" and words > 10
    images = browser.run(
        "Promise.all([...document.querySelectorAll('image')].map(async one => {"
        "const image = new Image(); image.src = one.getAttribute('href'); await image.decode();"
        "return image.naturalWidth; }))"
    )
    assert len(images) >= 2 and min(images) > 100


def test_identifiers_are_unique_and_everything_referred_to_exists(browser, page):
    browser.open(page)
    assert browser.run("(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id);"
                       "return ids.filter((id, k) => ids.indexOf(id) != k); })()") == []  # fmt: skip
    assert browser.run("[...document.querySelectorAll('use')].filter(e =>"
                       "!document.querySelector(e.getAttribute('href'))).length") == 0  # fmt: skip
    clips = "[...document.querySelectorAll('[clip-path]')].map(e => e.getAttribute('clip-path').slice(5, -1))"
    assert browser.run(f"{clips}.length") > 20
    assert browser.run(f"{clips}.filter(id => !document.getElementById(id))") == []


def test_links_lead_to_their_place(browser, page):
    browser.open(page)
    links = browser.run("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert len(links) > 12 and all(link.startswith("#") for link in links)
    for link in dict.fromkeys(links):
        where = browser.run(
            f"(() => {{ window.scrollTo(0, 0); document.querySelector('a[href=\"{link}\"]').click();"
            f"const target = document.querySelector('{link}').getBoundingClientRect();"
            "return [location.hash, target.top >= -1 && target.top < innerHeight]; })()"
        )
        assert where == [link, True]


BEYOND = (
    "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre, svg')"
    "&& e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))"
)


@pytest.mark.parametrize("width", SIZES)
def test_nothing_is_wider_than_the_window(browser, page, width):
    browser.open(page, width)
    assert browser.run("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
    assert browser.run(BEYOND) == []


# For each text that is seen: the ratio of its luminance to that of what lies behind it (WCAG 2.2, 1.4.3).
CONTRAST = """(() => {
    const channels = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const light = rgb => rgb.slice(0, 3).map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = channels(getComputedStyle(e).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
        const style = getComputedStyle(element);
        if (!text || !element.checkVisibility() || style.display === 'none') continue;
        const ink = channels(element instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(ink), light(behind(element))];
        found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text]);
    }
    return found;
})()"""


def pale(browser, at_least):
    """Texts, of at least so many, with less contrast than 4.5."""
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = browser.run(CONTRAST)
    assert len(found) >= at_least
    return [(round(ratio, 2), text) for ratio, text in found if ratio < 4.5]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_its_background(browser, page, dark):
    browser.open(page, dark=dark)
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", back))) < 150) == dark
    assert pale(browser, at_least=300) == []


def test_pictures_take_the_colours_of_the_page(browser, page):
    colours = {}
    for dark in (False, True):
        browser.open(page, dark=dark)
        colours[dark] = browser.run(
            "[...new Set([...document.querySelectorAll('svg path:not(defs path), svg use')].flatMap(e => {"
            "const s = getComputedStyle(e); return [s.stroke, s.fill]; }))].filter(c => c.startsWith('rgb('))"
        )
    assert "rgb(31, 95, 168)" in colours[False] and "rgb(0, 0, 0)" not in colours[True]
    assert not set(colours[False]) & set(colours[True])


def test_headings_tables_and_keyboard(browser, page):
    browser.open(page)
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert browser.run("document.documentElement.lang") == "en"
    assert browser.run("[...document.querySelectorAll('table.glance, .check table, #model > * > table')]"
                       ".filter(t => !t.caption || !t.querySelector('thead th[scope=col]')"
                       "|| !t.querySelector('tbody th[scope=row]')).length") == 0  # fmt: skip
    assert browser.run("[...document.querySelectorAll('.scroll, pre')].every(e => e.tabIndex === 0"
                       "&& e.getAttribute('aria-label') && e.getAttribute('role') === 'region')")  # fmt: skip
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0  # seen while it has the focus
    browser.press("Enter")
    assert browser.run("document.activeElement.id") == "main"


PAPER = 670  # pixels: A4 less its margins


def off_the_paper(browser):
    """What would be cut off at the right edge of the paper."""
    browser.call("Emulation.setDeviceMetricsOverride", width=PAPER, height=950, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setEmulatedMedia", media="print")
    beyond = browser.run(BEYOND.replace("'.scroll, pre, svg'", "'svg'"))
    browser.call("Emulation.setEmulatedMedia", media="")
    return beyond


def test_on_paper_it_is_dark_on_white_and_nothing_stays_folded(browser, page):
    browser.open(page, dark=True)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.call("Emulation.setEmulatedMedia", media="print", features=[scheme])
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    folded = browser.run(
        "[...document.querySelectorAll('details:not([open]) table')].map(t => t.getBoundingClientRect().height)"
    )
    assert folded and min(folded) > 20
    assert off_the_paper(browser) == []
    browser.call("Emulation.setEmulatedMedia", media="", features=[scheme])
    written = browser.pdf()
    assert written.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", written)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "options", "finding"),
    [
        ("remission ~ IL6 + CRP + CancerStage + LengthofStay + Experience + (1 | DID)", [], "407 groups of DID"),
        (
            "remission ~ Age + LengthofStay + FamilyHx + IL6 + CRP + CancerStage + Experience"
            " + (1 | HID) + (0 + LengthofStay | DID) + (1 | DID)",
            ["--method", "mcaghermite", "--intpoints", "7", "--only", "design", "collinearity"],
            "The fit depends on where LengthofStay has its 0",
        ),
    ],
    ids=["M1", "M3"],
)
def test_the_reports_on_the_hospital_data(browser, shared, tmp_path, formula, options, finding):
    path = tmp_path / "report.html"
    assert main(["diagnose", str(shared("data/hdp.csv")), formula, "--quiet", "--report", str(path), *options]) == 0
    for width, dark in ((1280, False), (390, True)):
        browser.open(path, width, dark=dark)
        assert faults(browser) == [] and fetched(browser) == [path.as_uri()]
        assert browser.run("document.documentElement.scrollWidth") == width and browser.run(BEYOND) == []
        assert pale(browser, at_least=150) == []
        assert finding in browser.run("document.body.innerText")
        assert off_the_paper(browser) == []
    assert browser.run("[...document.querySelectorAll('figure svg')].every(s => s.getBoundingClientRect().height > 80)")
