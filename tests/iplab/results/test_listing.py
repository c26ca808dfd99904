"""Listings: lazy as iterators, legible in a notebook."""

import iplab
from iplab.results.listing import Listing


def counted(items):
    """A listing of items, and how many of them each reading has taken."""
    taken = []

    def read(most):
        taken.append(0)
        mine = len(taken) - 1
        for item in items[:most]:
            taken[mine] += 1
            yield item

    return Listing("letters", read, " ".join), taken


def test_as_text_it_reads_nothing_and_says_how_to_read():
    listing, taken = counted("abc")
    assert repr(listing) == "<Listing of letters: read while it is iterated; list(...) reads all>"
    assert sum(taken) == 0


def test_a_notebook_shows_the_first_without_using_them_up():
    listing, taken = counted([f"n{number}" for number in range(50)])
    shown = listing._repr_html_()
    assert "n0" in shown and "n19" in shown and "n20" not in shown
    assert "the first 20" in shown
    assert taken[-1] == 21, "one more than is shown tells whether there are more"
    assert next(listing) == "n0"
    assert len(list(listing)) == 49


def test_few_items_are_all_shown():
    shown = counted("abc")[0]._repr_html_()
    assert "a b c" in shown
    assert "the first" not in shown


def test_a_limit_holds_for_what_is_shown_too(client, trained):
    client.create(trained.as_spec(), experiment_id="listed-too").cancel()
    listing = client.experiments(limit=1)
    assert listing._repr_html_().count("<tr>") == 2, "headings and one row"
    assert len(list(listing)) == 1


def test_runs_experiments_and_studies_show_themselves(client, trained):
    assert trained.id in client.experiments(f"experiment = {trained.id}")._repr_html_()
    assert "r00000" in trained.runs()._repr_html_()
    assert "Studies, newest first" in client.studies()._repr_html_()


def test_why_nothing_matches_is_said(client, trained):
    assert "did you mean" in trained.runs("parameterization = mupp")._repr_html_()
    assert "wdith" in trained.runs("wdith = 8")._repr_html_(), "a wrong filter is shown, not raised"


def test_an_unreachable_service_is_said_in_the_cell(impatient):
    with iplab.connect("127.0.0.1:1", timeout=0.5) as client:
        assert "ipserver up" in client.experiments()._repr_html_()
