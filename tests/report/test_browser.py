"""The report in a real browser: scripts run, nothing is wider than the page, and it prints."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from topo.report import write_report
from topo.stats import example_results

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")


def browse(folder, page, *options) -> str:
    """Open a page without a window and return the document as scripts have left it."""
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=4000", *options, page.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(example_results(), tmp_path_factory.mktemp("browser") / "report.html")


def with_script(page, script):
    """A copy of the page that runs a script after its own."""
    copy = page.with_name("copy.html")
    copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    return copy


@pytest.mark.slow
def test_sort_filter_and_download(page, tmp_path):
    script = """
      const head = [...document.querySelectorAll('#results th')];
      const column = head.findIndex((h) => h.textContent === 'accuracy');
      const values = () => [...document.querySelectorAll('#results tbody tr')].map((r) => +r.cells[column].textContent);
      const sorted = (v, s) => v.every((x, i) => i === 0 || s * (x - v[i - 1]) >= 0);
      head[column].firstElementChild.click();
      const up = sorted(values(), 1) && head[column].ariaSort === 'ascending';
      head[column].firstElementChild.click();
      const down = sorted(values(), -1) && head[column].ariaSort === 'descending';
      const filter = document.getElementById('filter');
      filter.value = 'snip 0.9';
      filter.dispatchEvent(new Event('input'));
      const left = [...document.querySelectorAll('#results tbody tr')].filter((r) => !r.hidden).length;
      const rolled = document.querySelector('[data-group="2"]');
      const before = getComputedStyle(document.querySelector('#results .g2')).display;
      rolled.click();
      const after = getComputedStyle(document.querySelector('#results .g2')).display;
      document.getElementById('theme').click();
      const wide = document.documentElement.scrollWidth <= innerWidth;
      document.title = JSON.stringify({up, down, left, before, after, wide,
        theme: document.documentElement.dataset.theme, csv: document.getElementById('csv').href.slice(0, 5)});
    """
    dom = browse(tmp_path, with_script(page, script), "--dump-dom", "--window-size=1200,900")
    found = re.search(r"<title>(.*?)</title>", dom).group(1)
    assert found == (
        '{"up":true,"down":true,"left":2,"before":"none","after":"table-cell","wide":true,"theme":"dark","csv":"blob:"}'
    )


@pytest.mark.slow
def test_it_fits_a_telephone(page, tmp_path):
    script = "document.title = String(document.documentElement.scrollWidth <= innerWidth)"
    dom = browse(tmp_path, with_script(page, script), "--dump-dom", "--window-size=500,900")
    assert "<title>true</title>" in dom


@pytest.mark.slow
def test_it_prints(page, tmp_path):
    printed = tmp_path / "report.pdf"
    browse(tmp_path, page, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    data = printed.read_bytes()
    assert data.startswith(b"%PDF") and 3 < len(re.findall(rb"/Type\s*/Page\b", data)) < 20
