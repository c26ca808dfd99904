"""Questions that tests ask, cheap to answer."""

from dataclasses import replace

from ipcore import theory
from ipcore.studies import Budget, CalibratedRates, RateTransfer, Setting, Subject

HOUR = 3600


def subject(name="mup", hidden_layers=1, activation="relu", rate=1.0, **more):
    return Subject(name, theory.preset(name, hidden_layers), activation, rate, **more)


def slopes(cells=1, budget=400.0, **more):
    """So many slopes against 0, within 0.1; a run at width 1024 costs 1."""
    return CalibratedRates(
        subjects=(subject(hidden_layers=cells),),
        tolerance=0.1,
        budget=Budget(core_hours=budget / HOUR),
        **more,
    )


def transfer(name="ip-llr", budget=400.0, **more):
    """A drift within 0.25."""
    question = RateTransfer(
        subjects=(subject(name, 3),),
        setting=Setting(loss="mse", steps=100),
        budget=Budget(core_hours=budget / HOUR),
    )
    return replace(question, **more)
