"""Datasets in specs: built-in, of a family, registered; refusals and their messages."""

from dataclasses import replace

import pytest

from ipcore.catalogue import DatasetInfo, dataset_info
from ipserver.request.defaults import spec_hash
from ipserver.request.limits import limits_with
from ipserver.request.validate import check_create
from ipserver.store.records.cluster import CapacityReport, DatasetReport
from tests.ipserver.request.requests import CAPACITY, spec, violations

MINE = DatasetInfo("registered:mine", "registered file mine.npz", 3, 2, 40, 10)
CURVE = DatasetInfo("registered:curve", "registered file curve.npz", 1, 0, 40, 10, target_dim=2)
REPORTED = CapacityReport(
    {"cpus": 4.0},
    (
        *CAPACITY.datasets,
        DatasetReport(MINE.name, "", MINE),
        DatasetReport(CURVE.name, "", CURVE),
        DatasetReport("registered:torn", "/data/registered/torn.npz is damaged; write it again"),
    ),
)
FIELD = "experiment.spec.dataset"


def accepted(capacity=REPORTED, **changes):
    return check_create(spec(**{"batch_size": 8, **changes}), limits_with(), capacity)


def test_families_need_no_report_and_get_their_canonical_name():
    for capacity in (None, REPORTED):
        checked = accepted(capacity, dataset="parity:k=3,d=20")
        assert checked.spec.dataset == "parity:d=20,k=3,n=4096,test=1024,flip=0,seed=0"
    assert checked.warnings == ()


def test_two_spellings_are_one_spec():
    names = ("parity:k=3,d=20", "parity:d=20,seed=0,k=3", "parity:d=20,k=3,n=4096,test=1024,flip=0.0,seed=0")
    assert len({spec_hash(accepted(dataset=name).spec) for name in names}) == 1


def test_wrong_parameters_of_a_family_are_named():
    found = violations(spec(dataset="parity:k=30,d=20,flip=2,seeds=1"))
    assert "flip=2 is not allowed" in found[FIELD]
    assert "unknown parameter 'seeds'; did you mean 'seed'" in found[FIELD]
    assert "k=30 is more than d=20" in found[FIELD]


def test_memory_follows_the_input_dimension():
    small, large = (accepted(dataset=f"parity:n=100,test=100,d={d}").run_memory_bytes for d in (10, 10_000))
    assert large - small > 4 * 32 * (10_000 - 10)


def test_the_batch_must_fit_the_family():
    found = violations(spec(dataset="parity:n=30", batch_size=31))
    assert "more than the 30 training examples" in found["experiment.spec.batch_size"]


def test_registered_files_are_those_that_were_reported():
    assert accepted(dataset="registered:mine").warnings == ()
    found = violations(spec(dataset="registered:mime", batch_size=8), capacity=REPORTED)
    assert "unknown registered dataset 'registered:mime'; did you mean 'registered:mine'" in found[FIELD]
    assert "registered:curve" in found[FIELD]
    assert "registered:torn" not in found[FIELD], "it cannot be used"
    assert "A new file is known after about 15 seconds" in found[FIELD]
    found = violations(spec(dataset="registered:torn", batch_size=8), capacity=REPORTED)
    assert "is damaged; write it again" in found[FIELD]
    found = violations(spec(dataset="registered:mine", batch_size=8), capacity=CAPACITY)
    assert "none is registered: put mine.npz or mine.safetensors into registered/" in found[FIELD]
    assert "it has no data folder: `ipserver up --data FOLDER`" in found[FIELD]
    somewhere = replace(CAPACITY, data="/srv/data")
    found = violations(spec(dataset="registered:mine", batch_size=8), capacity=somewhere)
    assert "into registered/ below the dispatcher's data folder. (A new file is known after" in found[FIELD]


def test_before_a_report_nothing_is_known_of_registered_files():
    with pytest.raises(Exception, match="not known yet"):
        check_create(spec(dataset="registered:mine", batch_size=8), limits_with(), None)


@pytest.mark.parametrize(
    "name", ["registered:../mine", "registered:/etc/passwd", "registered:", "registered:Mine"]
)
def test_a_path_is_no_name(name):
    assert "is not the name of a registered file" in violations(spec(dataset=name), capacity=REPORTED)[FIELD]


def test_sizes_of_registered_files_are_checked():
    found = violations(spec(dataset="registered:mine", batch_size=41), capacity=REPORTED)
    assert "more than the 40 training examples" in found["experiment.spec.batch_size"]


@pytest.mark.parametrize(
    ("dataset", "loss", "misfit"),
    [
        ("registered:curve", "cross_entropy", "real-valued targets; use 'mse'"),
        ("function", "cross_entropy", "real-valued targets; use 'mse'"),
        ("digits", "logistic", "needs exactly 2 classes, but 'digits' has 10 classes"),
        ("function", "logistic", "real-valued targets"),
        ("registered:curve", "mse", ""),
        ("registered:mine", "logistic", ""),
        ("parity", "exponential", ""),
        ("single-index:labels=sign", "cross_entropy", ""),
    ],
)
def test_the_loss_must_fit_the_labels(dataset, loss, misfit):
    request = {"dataset": dataset, "loss": loss}
    if misfit:
        assert misfit in violations(spec(batch_size=8, **request), capacity=REPORTED)["experiment.spec.loss"]
    else:
        accepted(**request)


def test_what_could_not_be_verified_is_a_warning():
    note = "not verified by checksum: train-images-idx3-ubyte"
    info = DatasetInfo("fashion-mnist", "", 784, 10, 60_000, 10_000, note=note)
    capacity = CapacityReport({"cpus": 4.0}, (DatasetReport("fashion-mnist", "", info),))
    (warning,) = accepted(capacity, dataset="fashion-mnist").warnings
    assert warning == f"dataset 'fashion-mnist': {note}"


def test_a_reported_problem_refuses_a_built_in_dataset():
    capacity = CapacityReport({"cpus": 4.0}, (DatasetReport("cifar10", "lacks cifar-10-binary.tar.gz"),))
    assert violations(spec(dataset="cifar10"), capacity=capacity)[FIELD] == "lacks cifar-10-binary.tar.gz"
    assert dataset_info("cifar10").input_dim == 3072
