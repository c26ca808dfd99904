"""States of experiments, runs and studies, by the names that filters use, and the regimes of theory."""

from __future__ import annotations

from iplab.v1.received_states import ApiEnum, ExperimentState, RunState, StudyReason, StudyState

__all__ = ["ExperimentState", "Regime", "RunState", "StudyReason", "StudyState", "StudyVerdict"]


class StudyVerdict(ApiEnum):
    """Verdict of a study (`iplab.v1.StudyVerdict` without its prefix). UNKNOWN: nothing is known yet."""

    UNKNOWN = "UNKNOWN"
    AGREES = "AGREES"
    DISAGREES = "DISAGREES"
    NO_PREDICTION = "NO_PREDICTION"
    UNDECIDED = "UNDECIDED"

    @property
    def words(self) -> str:
        """For tables: "no prediction"."""
        return "" if self is self.UNKNOWN else self.value.lower().replace("_", " ")


class Regime(ApiEnum):
    """Predicted regime in the limit of infinite width (`iplab.v1.Regime` without its prefix).

    UNKNOWN: not covered by theory, or beyond what is analysed. MEASURE: theory does not settle it.
    CONTROLLED_DIVERGENCE: the output grows with the width, hidden layers do not.
    """

    UNKNOWN = "UNKNOWN"
    UNSTABLE = "UNSTABLE"
    CONTROLLED_DIVERGENCE = "CONTROLLED_DIVERGENCE"
    TRIVIAL = "TRIVIAL"
    FEATURE_LEARNING = "FEATURE_LEARNING"
    KERNEL = "KERNEL"
    OPERATOR = "OPERATOR"
    MEASURE = "MEASURE"

    @property
    def words(self) -> str:
        """For tables: "feature learning"; "not covered" if unknown, "not settled" for MEASURE."""
        known = {self.UNKNOWN: "not covered", self.MEASURE: "not settled"}
        return known.get(self, self.value.lower().replace("_", " "))

    @property
    def meaning(self) -> str:
        """A short explanation."""
        return _MEANINGS[self.value]


_MEANINGS = {
    "UNKNOWN": "theory does not cover this loss, activation or optimizer",
    "UNSTABLE": "some size grows with the width without bound",
    "CONTROLLED_DIVERGENCE": "the output grows with the width, hidden layers do not",
    "TRIVIAL": "wide networks do not change",
    "FEATURE_LEARNING": "hidden layers change by as much as their size, at every width",
    "KERNEL": "hidden layers do not change; the output changes like a kernel machine's",
    "OPERATOR": "like kernel, with Adam: the output changes, hidden layers do not",
    "MEASURE": "theory does not settle it: train and measure",
}
