"""Make the pictures of docs/web.md: `python -m tests.ipserver.web.shots`. Trains for a minute."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver.support.ui import WebDriverWait

import iplab
from ipserver.store.records import CapacityReport, DatasetReport
from tests.iplab.conftest import Service
from tests.ipserver.studies.cases import Lab, ask, driver
from tests.ipserver.web.browser import PHONE, chromium, look
from tests.ipserver.web.conftest import Page

_FOLDER = Path(__file__).resolve().parents[3] / "docs" / "web"
_SWEEP = {
    "display_name": "best rates of muP and SP on digits",
    "spec": {
        "dataset": "digits",
        "batch_size": 64,
        "steps": 60,
        "evaluation_interval": 15,
        "validation_size": 237,
        "grid": {
            "parameterizations": [{"preset": "mup"}, {"preset": "sp"}],
            "widths": [32, 64, 128],
            "hidden_layers": [3],
            "activations": ["relu"],
            "base_learning_rates": [0.0156, 0.0312, 0.0625, 0.125, 0.25, 0.5, 1.0],
            "seeds": list(range(10)),
        },
    },
}
_SHOTS = (
    ("experiment", "/experiments/rates", (980, 1560), "light"),
    ("study", "/studies/sizes", (980, 900), "dark"),
    ("phone", "/experiments/rates", PHONE, "light"),
)


def main() -> None:
    """Fill a service, look at it, write the pictures."""
    _FOLDER.mkdir(exist_ok=True)
    service = Service(Path(tempfile.mkdtemp()))
    service.store.save_capacity(CapacityReport({"cpus": 2.0}, (DatasetReport("digits", ""),), data=""))
    with iplab.connect(service.address) as client:
        client.create(_SWEEP, experiment_id="rates")
        service.train()
    ask(service.store, "sizes", study={"display_name": "Are sizes at step 0 those of theory?"})
    lab = Lab(service.store, service.settings)
    lab.drive(driver(service.store), "sizes")
    lab.close()
    page = Page(service.address)
    with chromium() as browser:
        for name, path, size, scheme in _SHOTS:
            look(browser, size, scheme)
            browser.get(page.url + path)
            for script in (
                "return [...document.querySelectorAll('[data-later]')].every((e) => 'shown' in e.dataset)",
                "return [...document.images].every((one) => { one.loading = 'eager'; return one.complete; })",
            ):
                WebDriverWait(browser, 120, 0.2).until(
                    lambda driver, script=script: driver.execute_script(script)
                )
            png = base64.b64decode(
                browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
            )
            image = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
            image.save(_FOLDER / f"{name}.png", optimize=True)
            print(name, image.size, (_FOLDER / f"{name}.png").stat().st_size, flush=True)
    page.close()
    service.close()


if __name__ == "__main__":
    main()
