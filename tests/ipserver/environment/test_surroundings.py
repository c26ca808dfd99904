"""Variables of other programs: their effect on each library after our changes."""

import os
import subprocess
import sys
import urllib.request
import warnings

import pytest
import requests

from ipserver.environment import surroundings

PROXY = "http://127.0.0.1:9"
LOOPBACK = ["http://127.0.0.1:5000/", "http://localhost:5000/", "http://[::1]:5000/", "http://127.0.1.1:80/"]
ELSEWHERE = ["http://example.org/", "http://example.com/", "https://example.com/"]


def through(url):
    """The proxy that `requests`, and so MLflow's client, uses for a URL."""
    return requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "grpc_proxy"])
@pytest.mark.parametrize("known", ["", "example.org", " example.org , localhost", "*"])
def test_loopback_is_spared_for_requests_and_the_rest_is_as_before(variable, known, monkeypatch):
    monkeypatch.setenv(variable, PROXY)
    if known:
        monkeypatch.setenv("no_proxy", known)
    before = [through(url) for url in ELSEWHERE]

    surroundings.spare_loopback(os.environ)
    once = dict(os.environ)
    surroundings.spare_loopback(os.environ)

    assert [through(url) for url in LOOPBACK] == [None] * 4
    assert [through(url) for url in ELSEWHERE] == before
    assert dict(os.environ) == once, "parts do it again"


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_exceptions_that_were_there_stay(variable, monkeypatch):
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv(variable, "example.org")

    surroundings.spare_loopback(os.environ)

    assert urllib.request.proxy_bypass("example.org")
    assert urllib.request.proxy_bypass("127.0.0.1:5000")
    assert not urllib.request.proxy_bypass("example.com")


def test_without_a_proxy_nothing_changes():
    before = dict(os.environ)
    surroundings.spare_loopback(os.environ)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("environment", "url", "found"),
    [
        ({}, "http://lab.example.org:5000", None),
        (
            {"http_proxy": "http://u:p@proxy:3128"},
            "http://lab.example.org:5000",
            ("http_proxy", "proxy:3128"),
        ),
        ({"http_proxy": "proxy:3128"}, "http://lab.example.org", ("http_proxy", "proxy:3128")),
        ({"http_proxy": PROXY}, "https://lab.example.org", None),
        ({"HTTPS_PROXY": PROXY}, "https://lab.example.org", ("https_proxy", "127.0.0.1:9")),
        ({"all_proxy": "http://proxy"}, "https://lab.example.org", ("all_proxy", "proxy:80")),
        ({"http_proxy": PROXY, "no_proxy": "example.org"}, "http://lab.example.org:5000", None),
        ({"http_proxy": PROXY}, "sqlite:////home/lab/mlflow.db", None),
    ],
)
def test_which_proxy_a_url_goes_through(environment, url, found, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert surroundings.proxy_of(url) == found


def test_parts_do_not_hear_what_was_meant_for_a_script():
    flags = ["optimize", "inspect", "utf8_mode", "verbose", "int_max_str_digits"]
    script = f"import sys; print(*[getattr(sys.flags, name) for name in {flags}], sys.warnoptions)"
    left = {"PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "LC_ALL": "C"}
    left |= {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    left |= {"PYTHONVERBOSE": "2", "PYTHONMALLOC": "debug", "PYTHONMALLOCSTATS": "1"}
    left |= {"PYTHONINTMAXSTRDIGITS": "640"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=surroundings.for_parts(os.environ | left),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "0 0 1 0 -1 []\n"
    assert done.stderr == ""


def test_warnings_that_were_made_errors_are_warnings_again():
    environment = {"PYTHONWARNINGS": "error"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surroundings.forgive_warnings(environment)
        warnings.warn("from deep inside a library", DeprecationWarning, stacklevel=1)
    assert environment == {}


def test_a_ray_of_our_own_is_nobody_elses():
    environment = {"RAY_ADDRESS": "192.0.2.1:6379", "RAY_NAMESPACE": "mine", "RAY_AUTH_MODE": "token"}
    environment |= {"RAY_num_workers_soft_limit": "0", "RAY_worker_niceness": "3", "RAYON_NUM_THREADS": "2"}
    others = ["RAY_ADDRESS", "RAY_NAMESPACE", "RAY_num_workers_soft_limit"]
    assert surroundings.forget_other_rays(environment) == others
    assert environment == {"RAY_AUTH_MODE": "token", "RAY_worker_niceness": "3", "RAYON_NUM_THREADS": "2"}


def test_workers_train_alike_whatever_is_set_for_torch():
    environment = {"TORCH_LOGS": "bogus", "PYTORCH_JIT": "x", "TORCHDYNAMO_VERBOSE": "1", "TORCHED": "1"}
    environment |= {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    assert surroundings.forget_other_torches(environment) == [
        "TORCH_LOGS",
        "PYTORCH_JIT",
        "TORCHDYNAMO_VERBOSE",
    ]
    assert environment == {"TORCHED": "1", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}


def test_mlflow_writes_where_it_is_told_and_waits_for_it():
    environment = {"MLFLOW_TRACKING_URI": "http://192.0.2.1", "MLFLOW_ENABLE_ASYNC_LOGGING": "true"}
    environment |= {"MLFLOW_RUN_ID": "x", "MLFLOW_ACTIVE_MODEL_ID": "m", "MLFLOW_LOGGING_LEVEL": "loud"}
    environment |= {"MLFLOW_BACKEND_STORE_URI": "sqlite:////nowhere/x.db", "MLFLOW_WORKSPACE": "team"}
    environment |= {"MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "none", "MLFLOW_TRUNCATE_LONG_VALUES": "false"}
    kept = {"MLFLOW_TRACKING_TOKEN": "t", "MLFLOW_S3_IGNORE_TLS": "true", "MLFLOW_DISABLE_TELEMETRY": "false"}
    environment |= kept
    surroundings.forget_other_runs(environment)
    assert environment == kept


def test_traces_of_others_choose_no_plugins_here():
    environment = {"OTEL_PROPAGATORS": "b3", "OTEL_SERVICE_NAME": "kept"}
    surroundings.forget_other_traces(environment)
    assert environment == {"OTEL_SERVICE_NAME": "kept"}
