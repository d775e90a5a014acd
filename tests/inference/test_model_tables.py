"""Models side by side in every format, what maketables asks for, and the figures of estimates."""

from __future__ import annotations

import zipfile
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import ModelError
from melogit.report.models import Line, ModelTable
from quiet import quietly


@pytest.fixture(scope="module")
def fits():
    data = me.load_dataset("hospital")
    return (
        me.melogit("remission ~ Age + (1 | DID)", data),
        me.melogit("remission ~ Age + CancerStage + (1 | HID/DID)", data, vce="robust"),
    )


def test_text(fits):
    table = me.model_table(*fits, names=["Age only", "All"], stars=True, title="Remission")
    lines = str(table).splitlines()
    assert lines[0] == "Remission"
    assert len({len(line) for line in lines if set(line) <= {"=", "-"}}) == 1
    row = next(line for line in lines if line.startswith("Age "))
    assert row.split() == ["Age", f"{fits[0].params['Age']:.3f}***", f"{fits[1].params['Age']:.3f}***"]
    below = lines[lines.index(row) + 1].split()
    assert below == [f"({fits[0].bse['Age']:.3f})", f"({fits[1].bse['Age']:.3f})"]
    stages = [line.split()[0] for line in lines if line.startswith("    ")]
    assert [word for word in stages if word in ("I", "II", "III", "IV")] == ["I", "II", "III", "IV"]
    base = next(line for line in lines if line.strip().startswith("I "))
    assert base.split() == ["I", "(base)"]  # only the model that has the factor
    assert any(line.split() == ["Groups:", "DID", "150"] for line in lines)
    assert any(line.split() == ["Observations", "3,083", "3,083"] for line in lines)
    assert "Robust standard errors: (2)." in lines
    assert "* p < 0.05, ** p < 0.01, *** p < 0.001." in lines


def test_odds_ratios_and_intervals(fits):
    table = me.model_table(*fits, odds_ratios=True, below="ci", decimals=2)
    odds = fits[1].odds_ratios().loc["CancerStage[IV]"]
    text = str(table)
    assert f"{odds['odds_ratio']:.2f}" in text
    assert f"[{odds['ci_low']:.2f}, {odds['ci_high']:.2f}]" in text
    assert "Below the estimates: 95% confidence intervals." in text


ODD = ModelTable(
    "A & <b>",
    ("m_1", "50%"),
    ("y|x", "y"),
    (("", (Line("a|b*", ("1.0***", "<2>"), ("(0.1)", "")), Line("x$_{~}"), Line("lev\\el", ("", "3"), level=True))),),
    ("p < 0.05 & more",),
)


def test_names_are_escaped_in_every_format():
    html = ElementTree.fromstring(ODD.to_html())
    assert "".join(html.itertext()).count("<2>") == 1
    markdown = ODD.to_markdown()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {4}
    latex = ODD.to_latex()
    assert r"m\_1 & 50\% \\" in latex
    assert r"x\$\_\{\textasciitilde{}\}" in latex
    body = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")]
    assert all(line.count(" & ") == 2 for line in body.splitlines() if line.endswith(r"\\"))
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1


def test_word_document():
    archive = zipfile.ZipFile(BytesIO(ODD.to_docx()))
    assert set(archive.namelist()) == {"[Content_Types].xml", "_rels/.rels", "word/document.xml"}
    for name in archive.namelist():
        ElementTree.fromstring(archive.read(name))
    w = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
    document = ElementTree.fromstring(archive.read("word/document.xml"))
    rows = [[("".join(cell.itertext())) for cell in row.iter(f"{w}tc")] for row in document.iter(f"{w}tr")]
    assert {len(row) for row in rows} == {3}
    assert ["a|b*", "1.0***(0.1)", "<2>"] in rows
    assert ODD.to_docx() == ODD.to_docx()  # the same bytes each time


def test_tables_that_cannot_be(fits):
    with pytest.raises(ModelError, match="model_table needs fitted models"):
        me.model_table()
    with pytest.raises(ModelError, match="below='se' is not one of 'std_err', 'ci', 'p', 'z' or None"):
        me.model_table(*fits, below="se")
    with pytest.raises(ModelError, match="names has 1 entries for 2 models"):
        me.model_table(*fits, names=["a"])


def test_what_maketables_asks_for(fits):
    fit = fits[1]
    table = fit.__maketables_coef_table__
    assert list(table.columns) == ["b", "se", "t", "p", "ci95l", "ci95u"]
    assert table.index.name == "Coefficient"
    np.testing.assert_allclose(table["b"], fit.params)
    assert table["t"].isna().tolist() == [False] * 5 + [True] * 2
    assert fit.__maketables_depvar__ == "remission"
    assert fit.__maketables_stat__("N") == 3083
    assert fit.__maketables_stat__("ll") == pytest.approx(fit.llf)
    assert fit.__maketables_stat__("groups") == "20 HID, 150 HID:DID"
    assert fit.__maketables_stat__("r2_within") is None
    assert fit.__maketables_vcov_info__ == {"vcov_type": "robust"}
    assert all(fit.__maketables_stat__(key) is not None for key in fit.__maketables_default_stat_keys__)
    assert set(fit.__maketables_default_stat_keys__) <= set(fit.__maketables_stat_labels__)


def test_maketables_reads_them(fits):
    extractors = pytest.importorskip("maketables.extractors")
    extractor = extractors.PluginExtractor()
    assert extractor.can_handle(fits[0])
    assert extractor.coef_table(fits[0]).loc["Age", "b"] == pytest.approx(fits[0].params["Age"])


# ---------------------------------------------------------------------------------------------------- figures


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_forest(pyplot, fits):
    ax = fits[1].plot_odds_ratios()
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["Age", "CancerStage", "    I", "    II", "    III", "    IV"]
    assert ax.get_xscale() == "log"
    drawn = sorted(float(x) for line in ax.get_lines() for x in line.get_xdata() if line.get_marker() == "s")
    expected = sorted([*fits[1].odds_ratios()["odds_ratio"].drop("Intercept"), 1.0])
    assert drawn == pytest.approx(expected)
    odds = fits[1].odds_ratios().loc["Age"]
    words = f"{odds['odds_ratio']:.2f} ({odds['ci_low']:.2f}, {odds['ci_high']:.2f})"
    assert words in [text.get_text() for text in ax.texts]
    _, mine = pyplot.subplots()
    assert fits[0].plot_odds_ratios(ax=mine, intercept=True) is mine


@pytest.mark.parametrize(("low", "high"), [(0.97, 1.04), (0.5, 3.4), (0.05, 1.1), (0.001, 4000.0)])
def test_ticks_are_round_and_do_not_touch(pyplot, low, high):
    from melogit.plots.estimates import odds_ratio_forest

    ax = odds_ratio_forest(["x"], [np.sqrt(low * high)], [low], [high])
    left, right = ax.get_xlim()
    ticks = np.array([tick for tick in ax.get_xticks() if left <= tick <= right])
    assert 1 in ticks
    assert 3 <= len(ticks) <= 10
    assert np.diff(np.log(ticks)).min() > 0.1 * np.log(right / left) - 1e-12


def test_an_infinite_odds_ratio_has_no_mark(pyplot):
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 10), "x": np.tile(np.arange(10), 40)})
    data["y"] = (np.sin(17.0 * np.arange(400)) > 0.2 - 0.8 * np.sin(data["g"])).astype(int)
    data["always"] = (np.arange(400) % 23 == 0).astype(int)
    data.loc[data["always"] == 1, "y"] = 1
    fit = quietly(me.melogit, "y ~ x + always + (1 | g)", data).result
    ax = fit.plot_odds_ratios()
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["x", "always"]
    assert np.isfinite(ax.get_xlim()).all()


def test_variance_partition(pyplot, fits):
    ax = fits[1].plot_variance_partition()
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(fits[1].variance_partition()["share"].tolist())
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names[-1].startswith("residual (")


def test_profile_plot(pyplot, fits):
    profile = fits[1].profile("HID:var(Intercept)", points=3)
    ax = profile.plot()
    curve = ax.get_lines()[0]
    assert float(np.max(curve.get_ydata())) == pytest.approx(0, abs=1e-3)
    assert ax.get_xlabel() == "HID:var(Intercept)"
    assert f" {profile.ci_high:.4g} " in [text.get_text() for text in ax.texts]
