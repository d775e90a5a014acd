"""The report as HTML and Markdown, from invented checks. What a browser makes of it is in tests/browser."""

import re
from dataclasses import replace

import pytest

from invented_checks import HOSTILE, checks, picture, report
from melogit.report.checks import Check, CheckTable, Verdict
from melogit.report.checks_text import verdict_lines
from melogit.report.markdown import build_markdown
from melogit.report.page import build_page, references, three


def sketch(shown):
    return f'<svg role="img" aria-label="drawn as {shown.kind}"></svg>'


@pytest.fixture(scope="module")
def page():
    return build_page(report(), draw=sketch)


def with_checks(*made):
    return replace(report(), checks=made, verdict=verdict_lines(made))


def test_one_file_without_scripts_and_addresses(page):
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")
    assert not re.search(r"<script|<iframe|https?:|url\(|@import", page.replace("&lt;script", ""))
    assert "default-src 'none'" in page


def test_the_order_of_the_page(page):
    order = ["In short", "The model", "All checks at a glance", "one by one", "Methods and sources", "Versions"]
    places = [page.index(f"{words}") for words in order]
    assert places == sorted(places)


def test_the_verdict_opens_it_with_badges_and_links(page):
    opening = re.search(r'<section id="verdict".*?</section>', page, re.DOTALL)[0]
    assert '<p class="lead">4 checks were made: 1 problem and 2 things to look at.</p>' in opening
    assert opening.index("Influence of doctors") < opening.index("Linearity of the log-odds")
    assert '<a href="#check-influence-groups">Influence of doctors</a>: Without doctor 3 the odds ratio' in opening
    assert '<strong>Fine:</strong> <a href="#check-fit">Fit</a>.' in opening
    assert '<strong>Not checked:</strong> <a href="#check-serial">Serial correlation</a>.' in opening


def test_the_model_is_told_as_odds_ratios_to_three_digits(page):
    row = re.search(r'<th scope="row">minutes</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', page)
    fit = report().model.sections[0].rows[0]
    assert [row[1], row[2]] == [three(fit.values[0]), f"{three(fit.values[4])} to {three(fit.values[5])}"]
    assert row[3] == "&lt; 0.001"
    assert "drawn as forest" in page and "var(Intercept)" in page
    assert "<p>3,199 observations of purchase in 400 groups of consumer.</p>" in page


def test_a_check_has_words_pictures_advice_code_and_numbers(page):
    section = re.search(r'<section class="check look" id="check-linearity">.*?</section>', page, re.DOTALL)[0]
    places = [
        section.index(words)
        for words in (
            "do not fall along a straight line", "drawn as scatter", "What to do", "Replace LengthofStay", "bs(Leng",
            "A spline was compared", "LR chi2(3) = 12.35, p = 0.006", "By predictor", "source 3",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert "<details open>" in section
    assert "<details open>" not in re.search(r'id="check-fit">.*?</section>', page, re.DOTALL)[0]


def test_a_check_that_was_not_made_says_why_in_the_overview(page):
    overview = re.search(r'<section id="glance">.*?</section>', page, re.DOTALL)[0]
    assert overview.endswith('<td class="text">No time column was named.</td></tr>\n</tbody></table></section>')


def test_long_tables_are_folded(page):
    assert "<summary>The most influential (16 rows)</summary>" in page


def test_sources_are_told_once_and_numbered(page):
    told = references(checks())
    assert len(told) == len(set(told)) == 3
    assert page.count("Technometrics 19, 15-18.") == 1
    assert f'<li id="source-{told.index("Cook (1977), Technometrics 19, 15-18.") + 1}">Cook (1977)' in page


def test_names_are_escaped(page):
    assert HOSTILE not in page and "<script" not in page


def test_all_well_and_nothing_checked():
    fine = Check("a", "Collinearity", Verdict.FINE, "", (), (), "No predictor repeats the others.", ())
    assert "1 check was made: nothing speaks against this model." in build_page(with_checks(fine), draw=sketch)
    assert "No check was made." in build_page(replace(report(), checks=(), verdict=()), draw=sketch)


def test_an_empty_table_and_a_check_with_nothing_but_words():
    empty = Check("a", "A", Verdict.LOOK, "", (), (CheckTable("None", ("x", "y"), ()),), "Words.", ())
    assert "<caption>None</caption>" in build_page(with_checks(empty), draw=sketch)
    assert "**None**" in build_markdown(with_checks(empty))


def test_a_fit_that_did_not_converge_says_so_first():
    lost = replace(report(), model=replace(report().model, alert="NOT CONVERGED: stopped."))
    page = build_page(lost, draw=sketch)
    assert page.index("NOT CONVERGED") < page.index("checks were made")
    assert "**NOT CONVERGED: stopped.**" in build_markdown(lost)


def test_infinite_and_missing_odds_ratios():
    model = report().model
    rows = model.sections[0].rows
    odd = (
        replace(rows[0], values=(float("inf"), float("nan"), float("nan"), float("nan"), 0.0, float("inf"))),
        *rows[1:],
    )
    section = replace(model.sections[0], rows=odd)
    page = build_page(replace(report(), model=replace(model, sections=(section, *model.sections[1:]))), draw=sketch)
    assert '<th scope="row">minutes</th><td>+Inf</td><td>0 to +Inf</td><td></td>' in page


def test_markdown():
    text = build_markdown(report())
    lines = text.splitlines()
    heads = [line for line in lines if re.match(r"#+ ", line) and "Code" not in line]
    assert heads[0].startswith("# Checks of the model") and heads[1] == "## In short"
    assert "- **problem** Influence of doctors: Without doctor 3" in text
    assert "| Linearity of the log-odds | look | LR chi2(3) = 12.35, p = 0.006 |" in text
    assert "*Picture: Calibration.* In words: Calibration." in text
    assert "```python\nfit2 = me.melogit(" in text
    outside = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in outside.replace("\\<script", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(columns)) == 1


def test_a_fence_is_longer_than_those_within():
    wild = Check("a", "A", Verdict.LOOK, "", (), (), "Words.", (), "x = '''```'''\n````")
    assert "`````python\nx = '''```'''\n````\n`````" in build_markdown(with_checks(wild))


def test_two_equal_pictures_do_not_share_a_name():
    from melogit.plots.checks import as_svg

    one = picture("curve", x=[0, 1], y=[0, 1], xlabel="x", ylabel="y")
    other = picture("curve", x=[0, 1], y=[1, 0], xlabel="x", ylabel="y")
    ids = [set(re.findall(r' id="([^"]+)"', as_svg(shown))) for shown in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
