"""Chapter 03 in JupyterLab itself, in a real browser, started by the command ``nyang lab``.

A student types a wrong answer, reads the card, types the right one, and moves a slider.
Screenshots of each step go to ``tests/artefacts/``, for people to look at.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from course_copy import copy_course, environment

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
ARTEFACTS = Path(__file__).parent / "artefacts"
WRONG = "return dout @ weight, dout.T @ x / len(x), dout.sum(axis=0)"
RIGHT = "return dout @ weight, dout.T @ x, dout.sum(axis=0)"
SLOPE = ("return np.array([(f(x + step * e) - f(x - step * e)) / (2 * step) "
         "for e in np.eye(x.size)])")
PATIENCE = 60_000  # milliseconds for anything on the page

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser found: none of {', '.join(BROWSERS)} is on the PATH")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Run ``nyang lab 03`` in a copy; the address that it asks the browser to open.

    All that differs from a student's machine comes in by the environment: a "browser" that
    writes down its address, and configuration folders that are empty but for ``allow_root``.
    """
    root = copy_course(tmp_path_factory.mktemp("lab"))
    config, opened, log = root / "jupyter", root / "opened.txt", root / "lab.log"
    config.mkdir()
    settings = {"ServerApp": {"allow_root": True}}
    (config / "jupyter_server_config.json").write_text(json.dumps(settings))
    note = root / "note.py"
    note.write_text(f"import sys; open({str(opened)!r}, 'w').write(sys.argv[1])")
    variables = environment(
        root, BROWSER=f"{sys.executable} {note} %s", JUPYTER_CONFIG_DIR=str(config),
        JUPYTER_RUNTIME_DIR=str(config / "runtime"), JUPYTERLAB_SETTINGS_DIR=str(config / "user"),
        JUPYTERLAB_WORKSPACES_DIR=str(config / "workspaces"))
    with open(log, "w") as output:
        lab = subprocess.Popen([sys.executable, "-m", "nyang_edu.course.cli", "lab", "03"],
                               cwd=root, env=variables, stdout=output, stderr=output,
                               start_new_session=True)
    try:
        for _ in range(300):
            if opened.exists() and opened.read_text() or lab.poll() is not None:
                break
            time.sleep(0.2)
        assert opened.exists(), log.read_text()
        yield opened.read_text()
    finally:
        os.killpg(lab.pid, signal.SIGTERM)  # what closing the terminal does
        lab.wait(30)


@pytest.fixture(scope="module")
def page(address):
    """The chapter, open in the browser, with its kernel idle."""
    from playwright.sync_api import sync_playwright

    ARTEFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.get_by_text(re.compile(r"\| Idle")).wait_for()
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        yield page
        browser.close()


def code_cell(page, text):
    cell = page.locator(".jp-Notebook .jp-CodeCell").filter(has_text=text).first
    cell.scroll_into_view_if_needed()
    return cell


def write(page, text, old, new):
    """Click on the line that holds ``old``, select it and type ``new`` over it."""
    code_cell(page, text).locator(".cm-line").filter(has_text=old).first.click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type(new)


def run(page, text):
    """Run the cell with Ctrl+Enter, wait until it has ended, and return it."""
    cell = code_cell(page, text)
    prompt = cell.locator(".jp-InputArea-prompt")
    before = prompt.inner_text()
    cell.locator(".cm-content").first.click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "([prompt, before]) => /\\d/.test(prompt.innerText) && prompt.innerText != before",
        arg=[prompt.element_handle(), before])
    return cell


def shoot(page, name, cell=None):
    if cell:
        cell.get_by_text("the card above says why").scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # the page still moves after an output has come
    page.screenshot(path=ARTEFACTS / f"{name}.png")


def contrast(page, element):
    """The contrast of an element's text with what is behind it, as WCAG defines it."""
    colours = element.evaluate("""start => {
        let e = start, back;
        do { back = getComputedStyle(e).backgroundColor; e = e.parentElement; }
        while (e && /rgba\\(.*, 0\\)/.test(back));
        return [getComputedStyle(start).color, back];
    }""")
    light, dark = sorted(map(_luminance, colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour):
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    r, g, b = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def use_theme(page, name):
    page.locator(".lm-MenuBar-itemLabel", has_text="Settings").click()
    page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    page.locator(".lm-Menu-itemLabel", has_text=name).first.click()
    light = "true" if name == "JupyterLab Light" else "false"
    page.locator(f"body[data-jp-theme-light={light}]").wait_for(state="attached")


def test_the_first_screen_is_the_chapter_and_nothing_in_front_of_it(page):
    shoot(page, "1_first_screen")
    assert "03_linear.ipynb" in page.url
    assert page.get_by_role("heading", name="03 · The linear layer").is_visible()
    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".Toastify__toast").count() == 0


def test_a_wrong_answer_gets_a_card_and_the_right_one_a_line(page):
    run(page, "from nyang_edu.course import check")
    run(page, "images, labels = load_digits_5k()")
    run(page, "default_exp model.linear")
    write(page, "def linear_backward(", "raise NotImplementedError", WRONG)
    run(page, "def linear_backward(")
    checked = run(page, "check(linear_backward)")
    checked.get_by_text("known mistake: dweight is averaged over the batch").wait_for()
    assert checked.locator("svg:has(rect)").count() == 3
    red = checked.locator("[data-mime-type='application/vnd.jupyter.stderr']")
    assert red.inner_text().strip() == "not yet  linear_backward: the card above says why"
    card = checked.get_by_text("known mistake")
    assert contrast(page, card) > 7
    shoot(page, "2_wrong", checked)
    use_theme(page, "JupyterLab Dark")
    assert contrast(page, card) > 7
    shoot(page, "3_wrong_dark", checked)
    use_theme(page, "JupyterLab Light")

    write(page, "def linear_backward(", "return dout @ weight", RIGHT)
    run(page, "def linear_backward(")
    checked = run(page, "check(linear_backward)")
    checked.get_by_text("passed  linear_backward: dx, dweight, dbias equal").wait_for()
    assert "not yet" not in checked.inner_text()
    shoot(page, "4_right")


def test_a_blank_says_what_is_to_be_done(page):
    run(page, "def linear_forward(")
    checked = run(page, "check(linear_forward)")
    checked.get_by_text('where to begin: hint("linear_forward")').wait_for()
    assert "To do: one row of outputs per sample" in checked.inner_text()
    shoot(page, "5_blank")


def test_moving_the_slider_changes_the_picture(page):
    write(page, "def numerical_gradient(", "raise NotImplementedError", SLOPE)
    run(page, "def numerical_gradient(")
    cell = run(page, "def step_error(")
    picture = cell.locator("img")
    picture.wait_for()
    before = picture.get_attribute("src")
    cell.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    cell.get_by_text("−6.00").wait_for()
    page.wait_for_function("([cell, before]) => { const img = cell.querySelector('img');"
                           "return img && img.src != before; }",
                           arg=[cell.element_handle(), before])
    shoot(page, "6_slider")
