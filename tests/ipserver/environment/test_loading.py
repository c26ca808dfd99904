"""Loading of libraries: garbage is left alone meanwhile, and only meanwhile."""

import gc

import pytest

from ipserver.environment.loading import loading


def test_garbage_is_looked_for_again_afterwards():
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_library_that_does_not_load_changes_nothing_about_it():
    with pytest.raises(ModuleNotFoundError), loading():
        import no_such_library  # noqa: F401
    assert gc.isenabled()
