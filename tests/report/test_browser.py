"""What the script of the pages does, in a browser; everything else about them is tested without one."""

import shutil
import subprocess

import pytest

from medgraph.report.run import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")]


def seen(page, script: str) -> str:
    """Text that a script leaves in the title of a page, which must have nothing to say to the console."""
    copy = page.with_name("copy.html")
    copy.write_text(page.read_text().replace("</body>", f"<script>document.title = {script}</script></body>"))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = subprocess.run([*command, f"file://{copy}"], capture_output=True, text=True, timeout=300, check=True)
    assert [line for line in done.stderr.splitlines() if ":CONSOLE" in line] == [], "messages of the console"
    dom = done.stdout
    return dom[dom.index("<title>") + len("<title>") : dom.index("</title>")]


@pytest.fixture(scope="module")
def page(run_dir):
    return write_report(run_dir)


def test_a_click_sorts_numbers_downwards_and_a_second_one_upwards(page):
    script = """(() => {
      const tables = [...document.querySelectorAll("table.sortable")];
      const table = tables.find((one) => one.textContent.includes("question type"));
      const column = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith("accuracy"));
      const values = () => [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[column].textContent));
      const head = table.tHead.rows[0].cells[column], click = () => (head.querySelector("button").click(), values());
      const down = click(), first = head.ariaSort, up = click();
      const falls = down.every((value, i) => !i || value <= down[i - 1]);
      const rises = up.every((value, i) => !i || value >= up[i - 1]);
      return [falls, first, rises, head.ariaSort, down.length].join(" ");
    })()"""
    assert seen(page, script) == "true descending true ascending 8"


def test_a_filter_hides_the_other_cards(page):
    script = """(() => {
      const form = document.querySelector("[data-filters]"), select = form.elements["answer type"];
      select.value = "closed";
      form.dispatchEvent(new Event("change"));
      const cards = [...document.querySelectorAll("[data-facts]")].filter((card) => !card.hidden);
      const right = cards.every((card) => card.textContent.includes("closed"));
      const said = form.querySelector("output").textContent;
      return [right, cards.length > 0, said.startsWith(`${cards.length} of `)].join(" ");
    })()"""
    assert seen(page.with_name("failures.html"), script) == "true true true"


def test_a_key_sorts_what_has_the_focus_and_the_focus_is_seen(page):
    script = """(() => {
      const button = document.querySelector("table.sortable th button"), head = button.closest("th");
      const folded = button.closest("details");
      if (folded) folded.open = true;
      button.focus({focusVisible: true});
      const focused = document.activeElement === button && getComputedStyle(button).outlineStyle;
      const reached = button.tabIndex;
      button.click();  // what Enter and the space bar do to a button
      return [focused, reached, head.ariaSort, document.querySelector(".skip").hash].join(" ");
    })()"""
    assert seen(page, script) == "solid 0 ascending #main"


def test_nothing_is_wider_than_a_phone(page):
    script = """(() => {
      const frame = document.createElement("iframe");
      frame.style.width = "390px";
      frame.srcdoc = document.documentElement.outerHTML.replace(/<script[^]*?<\\/script>/g, "");
      document.body.append(frame);
      const root = () => frame.contentDocument.documentElement;
      return new Promise((done) => frame.onload = () => done(root().scrollWidth - root().clientWidth));
    })().then((beyond) => document.title = `${beyond} pixels beyond`)"""
    assert seen(page, script) == "0 pixels beyond"
