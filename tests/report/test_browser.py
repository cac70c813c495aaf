"""The report in a real browser: scripts run, nothing is wider than the page, and it prints."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from topo.report import write_report
from topo.results import example_results

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
    questions = ["metrics_and_accuracy", "beyond_density", "similar_networks", "before_training"]
    path = tmp_path_factory.mktemp("browser") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("topo.stats.predictors.TREES", 3)
        return write_report(example_results(), path, questions=questions, files=False, workers=1)


def with_script(page, script):
    """A copy of the page that runs a script after its own."""
    copy = page.with_name("copy.html")
    copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    return copy


@pytest.mark.slow
def test_sort_and_filter(page, tmp_path):
    script = """
      const table = document.getElementById('table-rows');
      const head = [...table.querySelectorAll('th')];
      const column = head.findIndex((h) => h.textContent === 'accuracy');
      const values = () => [...table.tBodies[0].rows].map((r) => +r.cells[column].textContent);
      const sorted = (v, s) => v.every((x, i) => i === 0 || s * (x - v[i - 1]) >= 0);
      head[column].firstElementChild.click();
      const up = sorted(values(), 1) && head[column].ariaSort === 'ascending';
      head[column].firstElementChild.click();
      const down = sorted(values(), -1) && head[column].ariaSort === 'descending';
      const filter = document.querySelector('input[type=search]');
      filter.value = 'snip 0.9';
      filter.dispatchEvent(new Event('input'));
      const left = [...table.tBodies[0].rows].filter((r) => !r.hidden).length;
      const rolled = document.querySelector('[data-group="2"]');
      const first = head.find((h) => h.textContent.startsWith('rolled__'));
      const shown = () => getComputedStyle(first).display;
      const before = shown();
      rolled.click();
      const after = shown();
      document.getElementById('theme').click();
      location.hash = '#undefined';
      const wide = document.documentElement.scrollWidth <= innerWidth;
      setTimeout(() => {
        const open = document.getElementById('undefined').open;
        document.title = JSON.stringify({
          up, down, left, before, after, wide, open, theme: document.documentElement.dataset.theme});
      }, 100);
    """
    dom = browse(tmp_path, with_script(page, script), "--dump-dom", "--window-size=1200,900")
    title = re.search(r"<title>(.*?)</title>", dom).group(1)
    assert title == (
        '{"up":true,"down":true,"left":2,"before":"none","after":"table-cell","wide":true,"open":true,"theme":"dark"}'
    )


@pytest.mark.slow
def test_all_pictures_are_there_anchors_lead_somewhere_and_every_table_sorts(page, tmp_path):
    script = """
      const seen = (e) => { const b = e.getBoundingClientRect(); return b.width > 50 && b.height > 50; };
      const figures = [...document.querySelectorAll('figure')];
      document.querySelectorAll('details').forEach((d) => { d.open = true; });
      const drawn = figures.every((f) => {
        const picture = f.querySelector('.canvas > img');
        return picture ? picture.complete && picture.naturalWidth > 100 : seen(f.querySelector('.canvas > svg'));
      });
      const links = [...document.querySelectorAll('a[href^="#"]')].map((a) => a.getAttribute('href').slice(1));
      const anchors = links.length >= 4 && links.every((id) => document.getElementById(id));
      let sorted = 0, wrong = 0;
      document.querySelectorAll('table.sortable').forEach((table) => {
        [...table.tHead.rows[0].cells].forEach((head, i) => {
          head.firstElementChild.click();
          const texts = [...table.tBodies[0].rows].map((r) => r.cells[i].textContent.trim()).filter((t) => t !== '');
          const numbers = texts.map(parseFloat);
          const keys = head.classList.contains('n') ? numbers : texts;
          const up = keys.every((k, j) => j === 0 || (typeof k === 'number' ? keys[j - 1] <= k :
            keys[j - 1].localeCompare(k) <= 0));
          sorted += 1; wrong += !up || head.ariaSort !== 'ascending';
        });
      });
      document.title = JSON.stringify({figures: figures.length, drawn, anchors, many: sorted > 60, wrong});
    """
    dom = browse(tmp_path, with_script(page, script), "--dump-dom", "--window-size=1300,900")
    title = re.search(r"<title>(.*?)</title>", dom).group(1)
    count = page.read_text().count("<figure ")
    assert count > 10 and title == f'{{"figures":{count},"drawn":true,"anchors":true,"many":true,"wrong":0}}'


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_errors_in_the_console(page, tmp_path, theme):
    catch = """<script>window.said = [];
      for (const kind of ['error', 'warn']) console[kind] = (...a) => said.push(a.join(' '));
      addEventListener('error', (e) => said.push(e.message || 'a resource did not load'), true);
      addEventListener('unhandledrejection', (e) => said.push(String(e.reason)));</script>"""
    copy = with_script(page, "setTimeout(() => { document.title = 'said: ' + said.join('; '); }, 500);")
    text = copy.read_text().replace("<head>", f"<head>{catch}", 1)
    copy.write_text(text.replace('<html lang="en">', f'<html lang="en" data-theme="{theme}">'))
    dom = browse(tmp_path, copy, "--dump-dom", "--enable-logging=stderr")
    assert re.search(r"<title>(.*?)</title>", dom).group(1).strip() == "said:"


@pytest.mark.slow
def test_it_fits_a_telephone(page, tmp_path):
    script = "document.title = String(document.documentElement.scrollWidth <= innerWidth)"
    dom = browse(tmp_path, with_script(page, script), "--dump-dom", "--window-size=500,900")
    assert "<title>true</title>" in dom


@pytest.mark.slow
def test_the_first_screen_holds_the_verdicts_and_nothing_is_unfolded(page, tmp_path):
    script = """
      const bottom = document.getElementById('verdicts').getBoundingClientRect().bottom;
      const figure = document.querySelector('#accuracy figure').getBoundingClientRect().bottom;
      const open = [...document.querySelectorAll('details.part')].filter((d) => d.open).length;
      const narrow = [...document.querySelectorAll('.said, .summary')].every((e) => e.scrollWidth <= e.clientWidth);
      const screens = document.documentElement.scrollHeight / 900;
      document.title = JSON.stringify([bottom < 900, figure < 900, open, narrow, screens < 6]);
    """
    dom = browse(tmp_path, with_script(page, script), "--dump-dom", "--window-size=1100,900")
    assert re.search(r"<title>(.*?)</title>", dom).group(1) == "[true,true,0,true,true]"


@pytest.mark.slow
def test_it_prints(page, tmp_path):
    printed = tmp_path / "report.pdf"
    browse(tmp_path, page, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    data = printed.read_bytes()
    assert data.startswith(b"%PDF") and 3 < len(re.findall(rb"/Type\s*/Page\b", data)) < 40
