"""The grammar of dataset names: valid names, and the errors for others."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.catalogue import (
    DATASETS,
    DatasetInfo,
    canonical_name,
    dataset_info,
    loss_misfit,
    output_dim,
    registered_file,
)
from ipcore.catalogue.families import FAMILIES, LARGEST_SIZE, parse
from ipcore.errors import DataError


@pytest.mark.parametrize("family", FAMILIES)
def test_a_name_without_parameters_has_all_defaults(family):
    member = parse(family)
    assert member.values == {p.name: p.default for p in FAMILIES[family].parameters}
    assert parse(member.name) == member


@given(
    d=st.integers(2, 1000),
    n=st.integers(2, 10_000),
    noise=st.floats(0, 1000, allow_subnormal=False),
    link=st.sampled_from(["relu", "hermite-3"]),
    order=st.randoms(),
)
def test_canonical_names_are_fixed_points_in_any_order(d, n, noise, link, order):
    entries = [f"d={d}", f"n={n}", f"noise={noise!r}", f"link={link}"]
    order.shuffle(entries)
    member = parse("single-index:" + ",".join(entries))
    assert (member.values["d"], member.values["n"]) == (d, n)
    assert member.values["noise"] == noise
    assert parse(member.name) == member
    assert canonical_name(canonical_name(member.name)) == member.name


def test_equal_numbers_have_one_spelling():
    names = {parse(f"function:noise={text}").name for text in ("0", "0.0", "-0", "0e5")}
    assert names == {"function:f=sine,n=4096,test=1024,noise=0,seed=0"}
    assert parse("function: n = 32 , seed=007").name == parse("function:n=32,seed=7").name


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("parity:n=x", ["n=x is not allowed", "whole numbers 2 .. 10000000"]),
        ("parity:n=1_000", ["n=1_000 is not allowed"]),
        ("parity:n=1", ["n=1 is not allowed"]),
        ("parity:n=٣", ["is not allowed"]),
        ("parity:flip=0.6", ["flip=0.6 is not allowed", "numbers 0 .. 0.5"]),
        ("parity:flip=nan", ["flip=nan is not allowed"]),
        ("function:noise=inf", ["noise=inf is not allowed"]),
        ("function:noise=-1", ["noise=-1 is not allowed"]),
        ("function:f=sin", ["f=sin is not allowed", "sine, step, abs"]),
        ("parity:dd=3", ["unknown parameter 'dd'", "did you mean 'd'"]),
        ("parity:d=3,d=4", ["d is given twice"]),
        ("parity:d", ["'d' is not parameter=value"]),
        ("parity:", ["'' is not parameter=value"]),
        ("parity:d=4,,k=2", ["'' is not parameter=value"]),
        ("parity:d=3,k=4", ["k=4 is more than d=3"]),
        ("multi-index:k=65,d=100", ["k=65 is not allowed", "1 .. 64"]),
        ("multi-index:link=abs,labels=sign", ["never negative", "one class only"]),
        ("parity:q=1,n=0,k=x", ["'q'", "n=0", "k=x"]),
        (
            "single-index:d=1000,n=1000000",
            [f"at most {LARGEST_SIZE:,} are allowed", "n + test may be at most 100,000"],
        ),
        ("digit", ["unknown dataset 'digit'", "did you mean 'digits'"]),
        ("single:d=3", ["unknown dataset 'single:d=3'"]),
        ("parity:d=" + "1" * 400, ["409 characters"]),
        ("registered:x", ["known only where its folder is"]),
    ],
)
def test_every_wrong_part_of_a_name_is_told(name, parts):
    with pytest.raises(DataError) as caught:
        dataset_info(name)
    for part in parts:
        assert part in str(caught.value)
    assert canonical_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "registered:" + stem
            for stem in ("", "../x", "a/b", ".x", "A", "a\n", "a" * 64, "/etc/passwd", "a\\b")
        ),
        "x",
    ],
)
def test_registered_names_hold_no_path(name):
    with pytest.raises(DataError, match="not the name of a registered file"):
        registered_file(name)


def test_what_is_known_of_a_member():
    info = dataset_info("multi-index:d=16,n=100,test=50,labels=sign")
    assert (info.input_dim, info.classes, info.target_dim) == (16, 2, 0)
    assert (info.train_size, info.test_size) == (100, 50)
    info = dataset_info("function")
    assert (info.input_dim, info.classes, info.target_dim) == (1, 0, 1)


CLASSES = {
    0: DatasetInfo("real", "", 3, 0, 9, 9, target_dim=4),
    2: DatasetInfo("two", "", 3, 2, 9, 9),
    10: DATASETS["digits"],
}


@pytest.mark.parametrize(
    ("loss", "classes", "fits", "outputs"),
    [
        ("cross_entropy", 0, False, None),
        ("cross_entropy", 2, True, 2),
        ("cross_entropy", 10, True, 10),
        ("mse", 0, True, 4),
        ("mse", 2, True, 2),
        ("mse", 10, True, 10),
        ("logistic", 0, False, None),
        ("logistic", 2, True, 1),
        ("logistic", 10, False, None),
        ("exponential", 0, False, None),
        ("exponential", 2, True, 1),
        ("exponential", 10, False, None),
    ],
)
def test_losses_and_labels(loss, classes, fits, outputs):
    info = CLASSES[classes]
    misfit = loss_misfit(loss, info)
    assert (misfit == "") == fits
    if fits:
        assert output_dim(loss, info) == outputs
    else:
        assert info.name in misfit and "use 'mse'" in misfit.replace("'cross_entropy' or ", "")


def test_standard_library_only():
    code = "import sys, ipcore.catalogue; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
