"""Pages of a real service, without a browser."""

import base64
import html
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import iplab
from iplab.display.answers import answers
from ipserver.store.records.accounts import Role
from tests.iplab.conftest import Service, small_spec
from tests.ipserver.web.conftest import MLFLOW, NASTY, Page

PAGES = (
    "/",
    "/?filter=state+%3D+QUEUED",
    "/experiments/rates-digits?whole=1",
    "/experiments/nasty?whole=1",
    "/experiments/waiting?whole=1",
    "/experiments/rates-digits/runs",
    "/experiments/rates-digits/runs/r00000",
    "/studies",
    "/studies/sizes?whole=1",
    "/studies/open?whole=1",
    "/compare",
    "/compare?a=rates-digits&b=standard",
    "/nowhere",
    "/experiments/nothing",
)


@pytest.fixture(scope="module")
def client(filled):
    with iplab.connect(filled.address) as client:
        yield client


class Elements(HTMLParser):
    """A page's elements in order; fails if one is not closed where it should be."""

    VOID = frozenset({"meta", "link", "input", "img"})

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def words(answer):
    """A page's text."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_escaped_and_loads_nothing_from_elsewhere(page, path):
    found = page.get(path)
    assert found.status == (404 if path in {"/nowhere", "/experiments/nothing"} else 200)
    assert "<script>alert" not in found.text
    elements = Elements(found.text).found
    loaded = [has.get("src") or has.get("href") for tag, has in elements if tag in {"script", "link", "img"}]
    assert len(loaded) >= 3
    assert all(source.startswith("/") and not source.startswith("//") for source in loaded)
    assert not [tag for tag, has in elements if tag == "style" or "style" in has or "onclick" in has]
    assert [tag for tag, _ in elements if tag in {"h1", "main"}] == ["main", "h1"]


def test_headers_forbid_scripts_frames_and_other_sites(page):
    for path in ("/", "/nowhere", "/static/style.css"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_foreign_name_is_refused(page, host):
    for path in ("/", "/experiments/rates-digits", "/static/live.js"):
        found = page.get(path, Host=host)
        assert found.status == 421
        assert "iplab</a>" not in found.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:50052"])
def test_names_of_loopback_are_served_on_any_port(page, host):
    assert page.get("/", Host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_the_page_only_reads(page, method):
    assert page.get("/", method=method).status == 405
    assert page.get("/experiments/rates-digits", method=method).status == 405


def test_an_experiment_without_any_result_does_not_look_like_a_success(page):
    row = words(page.get("/?filter=state+%3D+SUCCEEDED"))
    assert "hopeless eight small runs all diverged 2 of 2" in row
    assert "all diverged" in words(page.get("/experiments/hopeless"))
    assert "all diverged" not in words(page.get("/experiments/rates-digits"))


def test_lists_say_what_there_is(page):
    first = words(page.get("/"))
    assert "are sizes at step 0 those of theory? succeeded agrees coordinate-check" in first
    assert NASTY in first
    assert "48 of 48 37 succeeded, 11 diverged" in first
    waiting = words(page.get("/?filter=state+%3D+QUEUED"))
    assert "waiting" in waiting
    assert "rates-digits" not in waiting
    assert "No experiment fits the filter" in words(page.get("/?filter=labels.team+%3D+%22nobody%22"))
    assert "The coordinate check of ntk" in words(page.get("/studies"))


def test_a_wrong_filter_is_explained_beside_it(page):
    found = page.get("/?filter=colour+%3D+red")
    assert 'value="colour = red"' in found.text
    assert "colour" in words(found).partition("Apply")[2]


def test_an_experiment_has_its_answers_rates_figures_and_results(page, client):
    text = words(page.get("/experiments/rates-digits?part=results"))
    found = answers(client.experiment("rates-digits").check())
    assert found
    assert all(answer.sentence in text for answer in found)
    assert "Best rates Chosen by the final test loss" in text
    for title in ("Figures", "Results", "mup", "llr"):
        assert title in text
    sources = re.findall(r'<img src="([^"]*)"', page.get("/experiments/rates-digits?part=results").text)
    assert [source.rpartition("/")[2] for source in sources][:3] == [
        "coordinates.svg",
        "rates.svg",
        "curves.svg",
    ]
    assert "What theory predicts" in words(page.get("/experiments/rates-digits"))


def test_figures_are_files_of_every_kind_and_not_sent_twice(page):
    beginnings = {"svg": "<?xml", "csv": "group,panel,"}
    for ending, beginning in beginnings.items():
        found = page.get(f"/experiments/rates-digits/figures/curves.{ending}")
        assert found.status == 200
        assert found.text.startswith(beginning)
    found = page.get("/experiments/rates-digits/figures/curves.svg")
    assert found.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in found.headers["content-security-policy"]
    again = page.get("/experiments/rates-digits/figures/curves.svg", If_None_Match=found.headers["etag"])
    assert (again.status, again.text) == (304, "")
    for wrong in ("curves.exe", "nothing.svg"):
        assert page.get(f"/experiments/rates-digits/figures/{wrong}").status == 404
    assert page.get("/studies/sizes/figure.svg").status == 200
    assert page.get("/studies/open/figure.svg").status == 404
    assert page.get("/compare/rates-digits/standard/figure.svg").status == 200


def test_runs_are_filtered_and_sorted_by_the_service_s_own_names(page, client):
    def listed(query):
        return re.findall(r'runs/(r\d+)">', page.get(f"/experiments/rates-digits/runs{query}").text)

    experiment = client.experiment("rates-digits")
    assert listed("") == [run.id for run in experiment.runs()]
    filter = "width = 64 AND NOT state = DIVERGED"
    found = sorted(experiment.runs(filter), key=lambda run: -run.final_test_loss)
    assert listed("?sort=-final_test_loss&filter=width+%3D+64+AND+NOT+state+%3D+DIVERGED") == [
        r.id for r in found
    ]
    page_text = page.get("/experiments/rates-digits/runs?sort=width").text
    assert re.search(r'aria-sort="ascending"><a href="\?sort=-width">', page_text)
    wrong = words(page.get("/experiments/rates-digits/runs?sort=colour"))
    assert "unknown field 'colour'" in wrong
    assert page.get("/experiments/rates-digits/runs?page=0").status == 400


def test_long_lists_have_pages(page, monkeypatch):
    monkeypatch.setattr("ipserver.web.experiments._RUNS", 20)
    second = page.get("/experiments/rates-digits/runs?sort=-index&page=2")
    assert re.findall(r'runs/(r\d+)">', second.text) == [f"r{index:05d}" for index in range(27, 7, -1)]
    assert "?sort=-index&amp;page=1" in second.text
    assert "?sort=-index&amp;page=3" in second.text
    assert "page=4" not in page.get("/experiments/rates-digits/runs?page=3").text


def test_a_run_says_where_it_stands(page, client):
    run = client.experiment("rates-digits").run(0)
    text = words(page.get("/experiments/rates-digits/runs/r00000"))
    assert f"final test loss {run.final_test_loss:.6g}" in text
    assert "weights/final.safetensors" in text
    assert "finished its part" in text
    assert page.get("/experiments/rates-digits/runs/nonsense").status in {400, 404}


def test_runs_link_to_mlflow_once_it_holds_them(page, filled, monkeypatch):
    monkeypatch.setattr("iplab.results.run.Run.mlflow_run_id", "abc123", raising=False)
    for path in ("/experiments/rates-digits/runs", "/experiments/rates-digits/runs/r00000"):
        assert f'href="{MLFLOW}/#/runs/abc123"' in page.get(path).text
    assert f'href="{MLFLOW}/#/experiments"' in page.get("/").text


def test_two_experiments_are_compared_seed_by_seed(page, client):
    left, right = (list(client.experiment(name).runs()) for name in ("rates-digits", "standard"))

    def accuracy(runs, label, seed):
        (found,) = (
            run.final_test_accuracy
            for run in runs
            if (run.parameterization, run.width, run.base_learning_rate, run.seed) == (label, 32, 0.2, seed)
        )
        return found

    differences = [accuracy(right, "sp", seed) - accuracy(left, "mup", seed) for seed in (0, 1)]
    text = words(page.get("/compare?a=rates-digits&b=standard"))
    assert "They share no parameterization" in text
    assert re.search(rf"mup / sp 32 2 .* {sum(differences) / 2:.4g} \(", text)
    assert "36 runs of rates-digits, 0 of standard" in text
    assert "grid.base_learning_rates [0.05, 0.2, 0.8, 1000000.0] [0.2]" in text
    assert "there is no experiment &#39;nothing&#39;" in page.get("/compare?a=rates-digits&b=nothing").text


def test_what_takes_long_can_be_asked_for_alone(page):
    first = page.get("/experiments/rates-digits")
    assert "<img" not in first.text
    assert "<h1>" not in page.get("/experiments/rates-digits?part=progress").text
    assert page.get("/experiments/rates-digits?part=base").status == 404
    assert page.get("/experiments/rates-digits?part=../base").status == 404


def test_a_service_that_is_away_is_said(own_page):
    found = own_page.get("/")
    assert found.status == 503
    assert "no iplab service answers at 127.0.0.1:1" in words(found)
    assert '<meta http-equiv="refresh" content="10">' in found.text
    assert "loaded again every 10 seconds" in words(found)
    assert "refresh" not in own_page.get("/nowhere").text


def test_everybody_sees_what_their_token_lets_them_see(tmp_path, monkeypatch):
    """The page has no token, though its operator's variables hold one."""
    service = Service(tmp_path, auth=True)
    accounts = service.store.accounts
    for project in ("lab", "other"):
        accounts.create_project(project)
    accounts.grant("lab", "ann", Role.WRITER)
    accounts.grant("other", "bob", Role.WRITER)
    tokens = {name: accounts.create_token(name, 3600) for name in ("ann", "bob")}
    with iplab.connect(service.address, token=tokens["ann"]) as client:
        client.create(small_spec(), experiment_id="ann-s")
    monkeypatch.setenv("IPLAB_TOKEN", tokens["ann"])
    page = Page(service.address)

    def seen(path, token):
        given = base64.b64encode(f"anybody:{token}".encode()).decode()
        return page.get(path, Authorization=f"Basic {given}")

    try:
        for path in ("/", "/experiments/ann-s", "/experiments/ann-s?part=progress", "/studies"):
            for answer in (
                page.get(path),
                seen(path, "iplab_wrong"),
                page.get(path, Authorization="Basic ?"),
            ):
                assert answer.status == 401
                # A part is read every few seconds: the browser would ask for a password as often.
                assert ("www-authenticate" in answer.headers) == ("part=" not in path)
                assert answer.headers.get("www-authenticate", "Basic ").startswith("Basic ")
                assert "the token as the password" in answer.text
                assert "8 runs" not in answer.text
        assert "ann-s" in seen("/", tokens["ann"]).text
        assert seen("/experiments/ann-s", tokens["ann"]).status == 200
        assert "ann-s" not in seen("/", tokens["bob"]).text
        assert seen("/experiments/ann-s", tokens["bob"]).status == 404
        assert seen("/experiments/ann-s/figures/curves.svg", tokens["bob"]).status == 404
    finally:
        page.close()
        service.close()


@pytest.fixture
def own_page(monkeypatch):
    """A page over an address where nothing listens."""
    monkeypatch.setattr("iplab.connection.retries.RETRY_DELAYS", ())
    page = Page("127.0.0.1:1")
    yield page
    page.close()


def test_notes_are_shown_and_what_is_deleted_says_so(page, client):
    gone = client.create(small_spec() | {"notes": f"first line\n{NASTY}"}, experiment_id="gone").cancel()
    assert "/experiments/gone" in page.get("/").text
    gone.delete()
    answer = page.get("/experiments/gone")
    assert "first line\n" in answer.text
    assert f"Deleted. It can be undeleted until {gone.purge_time:%Y-%m-%d %H:%M} UTC." in words(answer)
    assert NASTY not in answer.text
    assert "/experiments/gone" not in page.get("/").text


def test_the_page_starts_without_what_it_may_never_need():
    """Its first figure loads numpy; the store is the API's alone."""
    code = (
        "import sys, ipserver.ops.parts, ipserver.web.app, ipserver.web.calls, ipserver.web.server; "
        "print(sorted({'sqlalchemy', 'alembic', 'numpy', 'matplotlib', 'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
