"""The page in Debian's Chromium: what script, style and keyboard do."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import iplab
from tests.iplab.conftest import Service, small_spec
from tests.ipserver.web.browser import DESKTOP, MISSING, PHONE, chromium, look
from tests.ipserver.web.conftest import Page

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs Debian's {' and '.join(MISSING)}")
ALL = (
    "/",
    "/experiments/rates-digits",
    "/experiments/nasty",
    "/experiments/rates-digits/runs",
    "/experiments/rates-digits/runs/r00000",
    "/studies",
    "/studies/sizes",
    "/studies/open",
    "/compare?a=rates-digits&b=standard",
)
# Least ratio of luminances of text and its background (WCAG 2, AA).
_CONTRAST = """
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const [r, g, b, a = 1] = parts(getComputedStyle(one).backgroundColor);
    if (a > 0) return [r, g, b];
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
};
const found = [];
for (const one of document.querySelectorAll("body *")) {
  const text = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!text || !one.getClientRects().length || one.matches(".skip")) continue;
  const [a, b] = [light(parts(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${one.tagName}.${one.className}: ${one.textContent.trim()}`);
}
return found;
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture
def opened(browser, page):
    """Open a page of the service and wait until all its parts are there."""

    def open_(path, size=DESKTOP, scheme="light"):
        look(browser, size, scheme)
        browser.get(page.url + path)
        waited(
            browser,
            "return [...document.querySelectorAll('[data-later]')].every((e) => 'shown' in e.dataset)",
        )

    return open_


def waited(browser, script, *arguments):
    return WebDriverWait(browser, 120, 0.1).until(lambda driver: driver.execute_script(script, *arguments))


@pytest.mark.parametrize("path", ALL)
def test_pages_fit_light_and_dark_desktop_and_phone_without_complaint(browser, opened, path):
    for size, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
        opened(path, size, scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
        assert browser.execute_script(_CONTRAST) == []
    assert browser.get_log("browser") == [], "a blocked script or style, a missing file, an error"
    assert not browser.execute_script("return document.querySelector('main script')")


def test_figures_are_drawn(browser, opened):
    opened("/experiments/rates-digits")
    browser.execute_script("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
    waited(browser, "return [...document.images].every((one) => one.complete)")
    sizes = browser.execute_script(
        "return [...document.images].map((one) => [one.naturalWidth, one.alt.length])"
    )
    assert len(sizes) >= 4
    assert all(width > 200 and words > 40 for width, words in sizes)


def test_the_keyboard_reaches_everything(browser, opened):
    opened("/experiments/rates-digits/runs")
    pressed = browser.switch_to.active_element
    pressed.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the content"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    seen = []
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.switch_to.active_element
        assert browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", focused) != "none"
        seen.append(focused.accessible_name)
    assert seen[2:7] == ["Filter", "Apply", "Runs", "run", "state"], seen
    assert seen[:2] == ["Experiments", "rates-digits"]
    assert "r00000" in seen
    browser.find_element(By.ID, "filter").send_keys("width = 16", Keys.ENTER)
    WebDriverWait(browser, 60).until(lambda driver: "filter=width" in driver.current_url)
    assert "width 16" in browser.find_element(By.CSS_SELECTOR, ".shared").text


@pytest.mark.usefixtures("page")
def test_progress_is_live_and_results_come_at_the_end(browser, tmp_path):
    service = Service(tmp_path)
    try:
        with iplab.connect(service.address) as client:
            client.create(small_spec(), experiment_id="live")
        page = Page(service.address)
        look(browser)
        browser.get(f"{page.url}/experiments/live")
        part = browser.find_element(By.CSS_SELECTOR, "[data-part=progress]")
        assert "queued" in part.text
        service.train()
        waited(browser, "return arguments[0].textContent.includes('8 succeeded')", part)
        waited(browser, "return document.querySelectorAll('[data-part=results] figure').length > 0")
        browser.get(f"{page.url}/")
        service.stop()
        waited(browser, "return document.getElementById('lost').textContent.includes('Not up to date')")
        assert "live" in browser.find_element(By.CSS_SELECTOR, "[data-part=lists]").text, (
            "what was known stays"
        )
        service.start()
        waited(browser, "return document.getElementById('lost').textContent === ''")
        page.close()
    finally:
        service.close()


def test_focus_and_what_is_folded_out_survive_an_update(browser, opened):
    opened("/")
    link = browser.find_element(By.LINK_TEXT, "standard")
    browser.execute_script("arguments[0].focus(); window.first = arguments[0]", link)
    # Another experiment is not there yet: pretend that an older text is shown.
    browser.execute_script("document.querySelector('[data-part=lists]').dataset.shown = ''")
    waited(browser, "return !window.first.isConnected")
    assert browser.switch_to.active_element.text == "standard"


def test_another_site_cannot_read_the_page(browser, page):
    browser.get(f"http://evil.example:{page.port}/")
    assert "another Host header is refused" in browser.page_source
    assert "rates-digits" not in browser.page_source
    browser.get(page.url)
    browser.get_log("browser")
    browser.execute_script(
        "const one = document.createElement('script'); one.text = 'window.ran = 1'; document.body.append(one)"
    )
    assert browser.execute_script("return window.ran") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]
