"""The three formats of one small table that has everything: groups, notes, marks, bold, and names full of markup."""

import html.parser
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from magdiff_eval.tables import (
    TABLES,
    Column,
    OurRow,
    PaperRow,
    Table,
    as_html,
    as_latex,
    as_markdown,
    as_page,
)
from magdiff_eval.tables.latex import PACKAGES

SMALL = Table(
    number=9,
    title="A_B",
    attributes=("Ticks",),
    columns=(
        Column(key="u/is", group="U & V", name="IS", decimals=2),
        Column(key="u/fvd", group="U & V", name="FVD", better="down", decimals=1, note="Odd."),
        Column(key="m/fvd", group="M", name="FVD", better="down", decimals=0),
    ),
    rows=(
        PaperRow(method="Old", attributes=("✗",), cells=(None, "9.5", "7"), other_protocol="by hand"),
        PaperRow(method="New (Ours)", attributes=("✓",), cells=("2.00", "8.0", "8"), proposed=True),
    ),
    remarks=("Less is more.",),
)
OURS = OurRow(
    method="A & B <x> 100%",
    values={"u/is": 3.456, "u/fvd": 1.0},
    intervals={"u/is": (3, 4)},
    attributes={"Ticks": "--on"},
    protocol={"u/is": "5 videos"},
    not_comparable={"u/fvd": "N = 5"},
)


def test_markdown() -> None:
    assert as_markdown(SMALL, [OURS]) == (
        "### Table 9 of the paper. A_B\n"
        "\n"
        "| Method | Ticks | U & V IS ↑ | U & V FVD ↓ ¹ | M FVD ↓ |\n"
        "| :-- | :-- | --: | --: | --: |\n"
        "| Old ‡² | ✗ | - | 9.5 | **7** |\n"
        "| **New (the paper's)** | ✓ | 2.00 | **8.0** | 8 |\n"
        "| *Measured here* |  |  |  |  |\n"
        "| A & B \\<x\\> 100% | --on | **3.46** [3.00, 4.00] ³ | 1.0 †⁴ | - |\n"
        "\n"
        "Less is more.\n"
        "\n"
        "Square brackets hold 95% intervals.\n"
        "\n"
        "- ¹ Odd.\n"
        "- ² Another protocol than MagDiff's: by hand.\n"
        "- ³ How it was made: 5 videos.\n"
        "- ⁴ Does not compare with the paper's: N = 5.\n"
    )


def test_latex() -> None:
    assert as_latex(SMALL, [OURS]) == (
        r"""% needs \usepackage{booktabs,amssymb,graphicx}
\begin{table}[htbp]
\centering
\caption{Table 9 of the paper. A\_B}
\label{tab:magdiff-9}
\par\smallskip
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{llrrr}
\toprule
 &  & \multicolumn{2}{c}{U \& V} & \multicolumn{1}{c}{M} \\
\cmidrule(lr){3-4}\cmidrule(lr){5-5}
Method & Ticks & IS $\uparrow$ & FVD $\downarrow$\textsuperscript{1} & FVD $\downarrow$ \\
\midrule
Old\textsuperscript{\ddag{}2} & $\times$ & - & 9.5 & \textbf{7} \\
\textbf{New (the paper's)} & $\checkmark$ & 2.00 & \textbf{8.0} & 8 \\
\midrule
\multicolumn{5}{l}{\emph{Measured here}} \\
A \& B \textless{}x\textgreater{} 100\% & -{}-on & \textbf{3.46} {[}3.00, 4.00{]}\textsuperscript{3} """
        r"""& 1.0\textsuperscript{\dag{}4} & - \\
\bottomrule
\end{tabular}}
\par\smallskip
\begin{minipage}{\linewidth}\footnotesize\raggedright
Less is more.\par
Square brackets hold 95\% intervals.\par
\textsuperscript{1}~Odd.\par
\textsuperscript{2}~Another protocol than MagDiff's: by hand.\par
\textsuperscript{3}~How it was made: 5 videos.\par
\textsuperscript{4}~Does not compare with the paper's: N = 5.\par
\end{minipage}
\end{table}
"""
    )


def test_html() -> None:
    assert as_html(SMALL, [OURS]) == (
        '<section class="paper-table" id="table-9">\n'
        '<div class="scroll" tabindex="0" role="region" aria-label="Table 9 of the paper. A_B">\n'
        "<table><caption>Table 9 of the paper. A_B</caption>\n"
        '<colgroup span="2"></colgroup><colgroup span="2"></colgroup><colgroup span="1"></colgroup>\n'
        '<thead><tr><th scope="col" rowspan="2">Method</th><th scope="col" rowspan="2">Ticks</th>'
        '<th scope="colgroup" colspan="2" class="group">U &amp; V</th>'
        '<th scope="colgroup" colspan="1" class="group">M</th></tr>'
        '<tr><th scope="col" class="number">IS ↑</th>'
        '<th scope="col" class="number">FVD ↓<sup><a href="#table-9-note-1">1</a></sup></th>'
        '<th scope="col" class="number">FVD ↓</th></tr></thead>\n'
        "<tbody>\n"
        '<tr><th scope="row" class="other-protocol">Old<sup>‡<a href="#table-9-note-2">2</a></sup></th><td>✗</td>'
        '<td class="number">-</td><td class="number">9.5</td><td class="number best">7</td></tr>\n'
        '<tr><th scope="row" class="best">New (the paper&#x27;s)</th><td>✓</td>'
        '<td class="number">2.00</td><td class="number best">8.0</td><td class="number">8</td></tr>\n'
        "</tbody>\n"
        '<tbody class="measured-here">\n'
        '<tr><th scope="rowgroup" colspan="5">Measured here</th></tr>\n'
        '<tr><th scope="row">A &amp; B &lt;x&gt; 100%</th><td>--on</td>'
        '<td class="number best">3.46 <span class="interval">[3.00, 4.00]</span>'
        '<sup><a href="#table-9-note-3">3</a></sup></td>'
        '<td class="number not-comparable">1.0<sup>†<a href="#table-9-note-4">4</a></sup></td>'
        '<td class="number">-</td></tr>\n'
        "</tbody>\n"
        "</table></div>\n"
        '<p class="remark">Less is more.</p>\n'
        '<p class="remark">Square brackets hold 95% intervals.</p>\n'
        '<ol class="notes">\n'
        '<li id="table-9-note-1">Odd.</li>\n'
        '<li id="table-9-note-2">Another protocol than MagDiff&#x27;s: by hand.</li>\n'
        '<li id="table-9-note-3">How it was made: 5 videos.</li>\n'
        '<li id="table-9-note-4">Does not compare with the paper&#x27;s: N = 5.</li>\n'
        "</ol>\n"
        "</section>\n"
    )


HOSTILE = OurRow(
    method='\\ { } _$x_1^2_ & # ~ ` * [y](z) | "q" <script>alert(1)</script> &lt; a\nb',
    values={"u/is": 1.0, "ucf101/fvd": 1.0},
    protocol={"ucf101/fvd": "100% of --all_videos"},
)


def test_a_hostile_name_stays_one_cell_of_markdown() -> None:
    (row,) = [line for line in as_markdown(SMALL, [HOSTILE]).splitlines() if "script" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert row.startswith(
        r"| \\ \{ \} \_\$x_1^2\_ & \# \~ \` \* \[y\](z) \| "
        r'"q" \<script\>alert(1)\</script\> \&lt; a b |'
    )


class Page(html.parser.HTMLParser):
    """What a browser would see of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.words = ""
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        found = {name: value or "" for name, value in attrs}
        self.ids += [found["id"]] if "id" in found else []
        self.links += [value for name, value in found.items() if name in ("href", "src")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_hostile_name_stays_text_in_html() -> None:
    page = Page(as_html(SMALL, [HOSTILE]))
    assert page.seen["script"] == 0
    assert "<script>alert(1)</script> &lt; a b" in page.words


def test_the_page_is_whole_and_every_link_leads_within_it() -> None:
    page = Page(as_page(TABLES, [HOSTILE]))
    assert page.open == []
    assert page.seen["table"] == 7
    assert max(Counter(page.ids).values()) == 1
    inner = [link for link in page.links if link != "data:,"]
    assert len(inner) > 20
    assert {link[1:] for link in inner} <= set(page.ids)
    assert all(link.startswith("#") for link in inner)


def test_every_row_of_html_and_latex_fills_the_tables_width() -> None:
    for table in TABLES:
        width = 1 + len(table.attributes) + len(table.columns)
        key = table.columns[0].key
        ours = [OurRow(method="M", values={key: 0.5})]
        rows = re.findall(r"<tr><th scope=\"row\".*</tr>", as_html(table, ours))
        assert [len(re.findall("<t[hd]", row)) for row in rows] == [width] * (len(table.rows) + 1)
        tabular = as_latex(table, ours).split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
        rows = [line for line in tabular.splitlines() if line.endswith(r"\\") and r"\multicolumn" not in line]
        assert [len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows] == [width] * (len(table.rows) + 1)


def latex_faults(text: str) -> list[str]:
    """Return what would stop LaTeX: braces and environments that do not close, and letters that it reads as markup."""
    faults, depth, environments = [], 0, []
    for line in text.splitlines():
        if line.startswith("%"):
            continue
        for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", line):
            if kind == "begin":
                environments.append(name)
            elif not environments or environments.pop() != name:
                faults.append(f"\\end{{{name}}} closes nothing")
        bare = re.sub(r"\\\\|\\[{}$&#%_]", "", line)
        for letter in bare:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            if depth < 0:
                faults.append(f"a brace too many in {line}")
        in_text = re.sub(r"\$[^$]*\$", "", bare)
        faults += [f"{found} in {line}" for found in re.findall(r"[$#^_~]", in_text.replace("}~", "}"))]
        faults += [f"% in {line}" for _ in re.findall(r"%(?!$)", in_text)]
    return faults + [f"{depth} braces are open"] * (depth != 0) + environments


def test_latex_has_no_loose_markup() -> None:
    for table in (SMALL, *TABLES):
        assert latex_faults(as_latex(table, [OURS, HOSTILE])) == []


@pytest.mark.parametrize("broken", [r"a_b", r"50% of", r"\textbf{a", r"a}", r"\end{table}", "#1", "x^2"])
def test_loose_markup_is_found(broken: str) -> None:
    assert latex_faults(broken) != []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    body = "".join(as_latex(table, [OURS, HOSTILE]) for table in (SMALL, *TABLES))
    document = f"\\documentclass{{article}}\n{PACKAGES}\n\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Overfull" not in done.stdout
