"""The best rate of each group: chosen on validation, out where a run diverged, open at the grid's edge."""

from iplab.display.tables import best_table
from iplab.results.best import advice
from iplab.results.run import Run
from iplab.v1 import run_pb2
from tests.iplab.results.grouping import best_rates


def run(rate, loss=None, *, width=64, seed=0, validation=None, state="SUCCEEDED"):
    message = run_pb2.Run(
        name="experiments/e/runs/r00000",
        parameterization="mup",
        hidden_layers=2,
        width=width,
        activation="relu",
        base_learning_rate=rate,
        seed=seed,
        state=f"RUN_STATE_{state}",
    )
    if loss is not None:
        message.summary.final_test_loss = loss
    if validation is not None:
        message.summary.best_validation_loss = validation
    return Run(None, message)


def test_validation_chooses_where_there_is_any():
    runs = [run(0.1, 1.0, validation=0.9), run(0.2, 0.5, validation=1.0), run(0.4, 2.0, validation=2.0)]
    (best,) = best_rates(runs)
    assert (best.base_learning_rate, best.criterion) == (0.1, "best_validation_loss")
    assert (best.criterion_value.mean, best.test_loss.mean) == (0.9, 1.0)
    assert (best.rates, best.runs, best.bracket) == (3, 1, "smallest tried")


def test_else_the_test_loss_chooses_and_the_mean_over_seeds_counts():
    runs = [
        run(rate, loss, seed=s)
        for rate, losses in ((1, (3, 4)), (2, (1, 2)), (4, (0, 9)))
        for s, loss in enumerate(losses)
    ]
    (best,) = best_rates(runs)
    assert (best.base_learning_rate, best.criterion, best.bracket) == (2, "final_test_loss", "")
    assert (best.test_loss.mean, best.test_loss.n) == (1.5, 2)
    assert advice([best]) == ""


def test_a_rate_at_which_a_run_diverged_or_is_missing_is_out():
    runs = [
        *(run(1, 3.0, seed=s) for s in (0, 1)),
        *(run(2, 1.0), run(2, seed=1, state="DIVERGED")),
        *(run(4, 0.5), run(4, seed=1, state="RUNNING")),
    ]
    (best,) = best_rates(runs)
    assert (best.base_learning_rate, best.bracket) == (1, "smallest tried")
    assert (
        "1 group the best rate is the smallest tried, so it is not bracketed: add smaller rates, from 0.5"
        in advice([best])
    )
    (none,) = best_rates([run(1, state="DIVERGED")])
    assert (none.base_learning_rate, none.bracket, none.test_loss.n) == (None, "", 0)
    assert advice([none, none]) == (
        "2 groups without a best rate (-): at every rate a run diverged, or has no result; add smaller rates"
    )


def test_a_table_of_best_rates_says_at_which_end_they_lie_and_leaves_out_what_no_group_has():
    runs = [run(1, 1.0), run(2, 2.0), run(1, state="DIVERGED", width=128)]
    table = best_table(best_rates(runs))
    cells = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    assert cells["not bracketed"] == ["smallest", "-"]
    assert cells["runs"] == ["1", "-"]
    none = best_table(best_rates([run(1, state="DIVERGED", width=width) for width in (64, 128)]))
    assert [str(column.header) for column in none.columns][-1] == "best rate"


def test_groups_differ_in_everything_but_rate_and_seed():
    best = best_rates([run(1, 1.0), run(2, 2.0), run(1, 2.0, width=128), run(2, 1.0, width=128)])
    assert [(row.width, row.base_learning_rate, row.bracket) for row in best] == [
        (64, 1, "smallest tried"),
        (128, 2, "largest tried"),
    ]
    assert "add larger rates, from 4 on" in advice(best)
