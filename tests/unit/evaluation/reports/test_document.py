import re
from html.parser import HTMLParser

import pytest

from evaluation.reports.document import render_document, render_sections
from evaluation.reports.parts import (
    Cell,
    Facts,
    Folded,
    Notes,
    Plot,
    Section,
    Share,
    Shares,
    Span,
    SpanRow,
    Spans,
    Table,
    Text,
)
from evaluation.reports.plots import Curve, curves, histogram

HOSTILE = "<script>alert(1)</script>\"'&$x_"
VOID = {"meta", "line", "circle", "br", "path", "use", "rect", "link", "img"}


class Outline(HTMLParser):
    """Elements with their attributes; complains about those that are not closed."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def every_part(name="model"):
    table = Table("All of them.", ["name", "value"], [[name, Cell("3", "good", 0.4, name)]], [1])
    rows = [
        SpanRow(name, Span(2.0, 1.0, 3.0, (1.5, 2.5)), ["2.0"], ["1 to 3"], group=name),
        SpanRow("none", None, ["-"], ["too few votes"]),
    ]
    line = Curve(name, [0, 1, 2], [1.0, 3.0, 2.0], [0.5, 2.0, 1.0], [1.5, 4.0, 3.0])
    other = Curve("other", [0, 1, 2], [2.0, 1.0, 2.0], steps=True)
    return [
        Section(
            name,
            [
                table,
                Spans(
                    "Strengths.",
                    "Elo",
                    rows,
                    reference=2.0,
                    heads_before=["Elo"],
                    heads_after=["95 %"],
                ),
                Shares("Answers.", [(name, "12", [Share(name, 0.25), Share("tie", 0.75, 2)])]),
                Facts([(name, name)]),
                Text([name]),
                Notes([name]),
                Folded(name, [Text([name])]),
            ],
        ),
        Section(
            "Curve", [Plot(curves([line, other], x=name, y="y", levels=[(2.0, name)]), name, table)]
        ),
        Section(
            "Third", [Plot(histogram([1.0, 2.0, 2.1], x="x", y="n", bins=[0, 1, 2, 3]), "h", table)]
        ),
    ]


def test_a_document_asks_for_nothing_and_runs_nothing():
    html = render_document("Report", every_part())
    outline = Outline(html)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in outline.found}
    sources = [
        a.get(k) for _, a in outline.found for k in ("src", "href", "xlink:href") if a.get(k)
    ]
    assert all(source.startswith("#") for source in sources)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html


def test_what_people_wrote_stays_text():
    html = render_document(HOSTILE, every_part(HOSTILE), lead=HOSTILE, foot=HOSTILE)
    assert "<script" not in html
    assert "onerror" not in html
    assert html.count("&lt;script&gt;") >= 10


def test_every_drawing_stands_beside_its_numbers():
    outline = Outline(render_document("Report", every_part()))
    drawings = [a for tag, a in outline.found if tag == "svg"]
    assert len(drawings) == 3
    assert all(a["aria-hidden"] == "true" for a in drawings)
    # One of the rows with an interval, two plots with their folded tables, and the table itself.
    assert sum(tag == "table" for tag, _ in outline.found) == 5
    assert sum(a.get("role") == "img" for _, a in outline.found) == 2


def test_no_id_occurs_twice():
    section = every_part()
    ids = re.findall(r'\bid="([^"]+)"', render_document("Report", [*section, *section]))
    # Marks and clips are named by what they are: equal drawings share them.
    drawn = [name for name in ids if not re.fullmatch("[mp][0-9a-f]{10}", name)]
    assert len(drawn) == len(set(drawn))


def test_plots_take_the_colours_of_the_document():
    svg = curves([Curve("a", [0, 1], [0, 1])], x="x", y="y")
    assert "var(--accent)" in svg
    assert "#00000" not in svg
    assert len(svg) < 20_000


@pytest.mark.parametrize("name", ["$5", "_hidden", "模型", "نموذج", "a<b"])
def test_any_name_stands_in_a_legend(name, recwarn):
    lines = [Curve(name, [0, 1], [0, 1]), Curve("b", [0, 1], [1, 0])]
    assert name.replace("<", "&lt;") in curves(lines, x="x", y="y")
    # Whatever else is collected meanwhile, files of other tests among it, may warn as well.
    assert not [warned for warned in recwarn if issubclass(warned.category, UserWarning)]


def test_intervals_beyond_the_scale_end_at_its_ends():
    row = SpanRow("a", Span(0.5, float("-inf"), float("inf")))
    html = render_sections([Section("s", [Spans("c", "p", [row], scale=(0.0, 1.0))])])
    assert 'x1="0.0%" x2="100.0%"' in html
    assert 'cx="50.0%"' in html


def test_a_scale_has_a_few_round_ticks():
    row = SpanRow("a", Span(1012.0, 943.0, 1081.0))
    html = render_sections([Section("s", [Spans("c", "Elo", [row])])])
    assert re.findall(r'<span style="left[^>]*>([^<]*)<', html) == ["950", "1000", "1050"]


def test_the_same_parts_make_the_same_bytes():
    assert render_document("Report", every_part()) == render_document("Report", every_part())
