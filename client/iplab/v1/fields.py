"""Fields of messages as typed, read-only attributes.

Generated from proto/ (make proto); do not edit.
"""

from __future__ import annotations

from datetime import UTC, datetime

from iplab.v1 import experiment_pb2, run_pb2, study_pb2


class RunFields:
    """One network trained from one point of the grid."""

    _run: run_pb2.Run

    @property
    def name(self) -> str:
        """Resource name, "experiments/{experiment}/runs/{run}". {run} is a function of the index."""
        return self._run.name

    @property
    def index(self) -> int:
        """Position in the expanded grid, from 0."""
        return self._run.index

    @property
    def parameterization(self) -> str:
        """Label of its parameterization."""
        return self._run.parameterization

    @property
    def hidden_layers(self) -> int:
        """Hidden layers L."""
        return self._run.hidden_layers

    @property
    def width(self) -> int:
        """Width m; 2147483647: infinite."""
        return self._run.width

    @property
    def activation(self) -> str:
        """Name of the activation."""
        return self._run.activation

    @property
    def base_learning_rate(self) -> float:
        """Base learning rate eta."""
        return self._run.base_learning_rate

    @property
    def seed(self) -> int:
        """Seed of initial weights and batches."""
        return self._run.seed

    @property
    def pack(self) -> str:
        """Id of the pack it is trained in; empty until planned."""
        return self._run.pack

    @property
    def committed_steps(self) -> int:
        """Number of committed, durable updates."""
        return self._run.committed_steps

    @property
    def steps(self) -> int:
        """Number of updates requested."""
        return self._run.steps

    @property
    def calibrated_rates(self) -> tuple[float, ...]:
        """Base rates of step 0 per layer, first to last, as calibrated; empty without calibration."""
        return tuple(self._run.calibrated_rates)

    @property
    def start_time(self) -> datetime | None:
        """When its pack first started (UTC); None until then."""
        return self._run.start_time.ToDatetime(tzinfo=UTC) if self._run.HasField("start_time") else None

    @property
    def end_time(self) -> datetime | None:
        """When it reached a terminal state (UTC); None until then."""
        return self._run.end_time.ToDatetime(tzinfo=UTC) if self._run.HasField("end_time") else None

    @property
    def mlflow_run_id(self) -> str:
        """Run id in MLflow; empty until the forwarder has created it."""
        return self._run.mlflow_run_id


class RunSummaryFields:
    """Summary of a run's metrics. A field is unset until its value is known. Losses are means over
    examples (cross entropy and logistic: in nats); accuracies lie in [0, 1].
    """

    _run_summary: run_pb2.RunSummary

    @property
    def last_train_loss(self) -> float | None:
        """Newest recorded training loss (on the batch of that step); None until there is one."""
        return self._run_summary.last_train_loss if self._run_summary.HasField("last_train_loss") else None

    @property
    def best_test_loss(self) -> float | None:
        """Smallest test loss at any evaluation; None until there is one."""
        return self._run_summary.best_test_loss if self._run_summary.HasField("best_test_loss") else None

    @property
    def best_test_accuracy(self) -> float | None:
        """Largest test accuracy at any evaluation; None until there is one."""
        return self._run_summary.best_test_accuracy if self._run_summary.HasField("best_test_accuracy") else None

    @property
    def final_test_loss(self) -> float | None:
        """Test loss of the final weights; None until there is one."""
        return self._run_summary.final_test_loss if self._run_summary.HasField("final_test_loss") else None

    @property
    def final_test_accuracy(self) -> float | None:
        """Test accuracy of the final weights; None until there is one."""
        return self._run_summary.final_test_accuracy if self._run_summary.HasField("final_test_accuracy") else None

    @property
    def diverged_step(self) -> int | None:
        """Update at which the training loss was not finite; set for DIVERGED runs; None until there is one."""
        return self._run_summary.diverged_step if self._run_summary.HasField("diverged_step") else None

    @property
    def best_validation_loss(self) -> float | None:
        """Smallest validation loss at any evaluation; None until there is one."""
        return self._run_summary.best_validation_loss if self._run_summary.HasField("best_validation_loss") else None

    @property
    def best_validation_accuracy(self) -> float | None:
        """Largest validation accuracy at any evaluation; None until there is one."""
        return self._run_summary.best_validation_accuracy if self._run_summary.HasField("best_validation_accuracy") else None

    @property
    def best_validation_step(self) -> int | None:
        """Number of updates at the best validation: the first with the largest accuracy, or with the smallest
        loss if there is no accuracy; None until there is one.
        """
        return self._run_summary.best_validation_step if self._run_summary.HasField("best_validation_step") else None

    @property
    def test_loss_at_best_validation(self) -> float | None:
        """Test loss at `best_validation_step`; None until there is one."""
        return self._run_summary.test_loss_at_best_validation if self._run_summary.HasField("test_loss_at_best_validation") else None

    @property
    def test_accuracy_at_best_validation(self) -> float | None:
        """Test accuracy at `best_validation_step`; None until there is one."""
        return self._run_summary.test_accuracy_at_best_validation if self._run_summary.HasField("test_accuracy_at_best_validation") else None

    @property
    def final_limit_error(self) -> float | None:
        """Of infinite width: error of the outputs on the test set after the last update that is due to a
        finite number of particles, relative to their size (root mean square); None until there is one.
        """
        return self._run_summary.final_limit_error if self._run_summary.HasField("final_limit_error") else None


class ExperimentFields:
    """Runs trained from one spec."""

    _experiment: experiment_pb2.Experiment

    @property
    def name(self) -> str:
        """Resource name, "experiments/{experiment}"."""
        return self._experiment.name

    @property
    def uid(self) -> str:
        """Unique id, never reused, even if a resource name is."""
        return self._experiment.uid

    @property
    def display_name(self) -> str:
        """Display name: free text on one line."""
        return self._experiment.display_name

    @property
    def labels(self) -> dict[str, str]:
        """At most 32 labels. Keys match [a-z][a-z0-9_-]{0,62}; values are free text on one line."""
        return dict(self._experiment.labels)

    @property
    def priority(self) -> int:
        """Packs of higher priority are placed first. In a full cluster, packs of lower priority make room for
        them and continue later from a checkpoint. Default 0.
        """
        return self._experiment.priority

    @property
    def committed_steps(self) -> int:
        """Number of updates committed so far, over all runs."""
        return self._experiment.committed_steps

    @property
    def total_steps(self) -> int:
        """Number of updates requested, over all runs."""
        return self._experiment.total_steps

    @property
    def run_memory_bytes(self) -> int:
        """Estimated memory of the largest single run, in bytes."""
        return self._experiment.run_memory_bytes

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user, for example about unknown capacity."""
        return tuple(self._experiment.warnings)

    @property
    def spec_hash(self) -> str:
        """SHA-256 of the spec with its defaults filled in, in hexadecimal."""
        return self._experiment.spec_hash

    @property
    def sequence(self) -> int:
        """Number of the newest event."""
        return self._experiment.sequence

    @property
    def create_time(self) -> datetime | None:
        """When it was accepted (UTC); None until then."""
        return self._experiment.create_time.ToDatetime(tzinfo=UTC) if self._experiment.HasField("create_time") else None

    @property
    def start_time(self) -> datetime | None:
        """When the first run started (UTC); None until then."""
        return self._experiment.start_time.ToDatetime(tzinfo=UTC) if self._experiment.HasField("start_time") else None

    @property
    def end_time(self) -> datetime | None:
        """When it reached a terminal state (UTC); None until then."""
        return self._experiment.end_time.ToDatetime(tzinfo=UTC) if self._experiment.HasField("end_time") else None

    @property
    def mlflow_pending_runs(self) -> int:
        """Number of runs that are not completely forwarded to MLflow yet."""
        return self._experiment.mlflow_pending_runs

    @property
    def project(self) -> str:
        """Id of its project, which decides who may see it and which limits apply. Empty in a request: the only
        project in which the caller may submit, or "default".
        """
        return self._experiment.project

    @property
    def owner(self) -> str:
        """The user who submitted it; empty if the service has no users."""
        return self._experiment.owner

    @property
    def etag(self) -> str:
        """Changes with every change of a field that UpdateExperiment can change, but not with progress. Output
        only, except in UpdateExperiment.
        """
        return self._experiment.etag

    @property
    def notes(self) -> str:
        """Free text on any number of lines."""
        return self._experiment.notes

    @property
    def delete_time(self) -> datetime | None:
        """When it was deleted; unset if it is not deleted (UTC); None until then."""
        return self._experiment.delete_time.ToDatetime(tzinfo=UTC) if self._experiment.HasField("delete_time") else None

    @property
    def purge_time(self) -> datetime | None:
        """When it will be purged; until then a deleted experiment can be undeleted (UTC); None until then."""
        return self._experiment.purge_time.ToDatetime(tzinfo=UTC) if self._experiment.HasField("purge_time") else None

    @property
    def estimated_seconds(self) -> float:
        """Rough estimate of the training time in seconds, if nothing else trains. Only in answers to
        validate_only.
        """
        return self._experiment.estimated_seconds

    @property
    def estimate_basis(self) -> str:
        """Basis of the estimate. Only in answers to validate_only."""
        return self._experiment.estimate_basis


class StudyFields:
    """A question with its answer."""

    _study: study_pb2.Study

    @property
    def name(self) -> str:
        """Resource name, "studies/{study}"."""
        return self._study.name

    @property
    def uid(self) -> str:
        """Unique id, never reused, even if a resource name is."""
        return self._study.uid

    @property
    def display_name(self) -> str:
        """Display name: free text on one line."""
        return self._study.display_name

    @property
    def labels(self) -> dict[str, str]:
        """As for an experiment. Its experiments get them too, and the label "study"."""
        return dict(self._study.labels)

    @property
    def priority(self) -> int:
        """Priority of its experiments. Default 0."""
        return self._study.priority

    @property
    def sentence(self) -> str:
        """The answer in words, with numbers, intervals, cost and theory's prediction."""
        return self._study.sentence

    @property
    def experiments(self) -> tuple[str, ...]:
        """Names of its experiments, in the order of their creation. They stay when the study is deleted."""
        return tuple(self._study.experiments)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user."""
        return tuple(self._study.warnings)

    @property
    def sequence(self) -> int:
        """Grows with every change of the study itself."""
        return self._study.sequence

    @property
    def create_time(self) -> datetime | None:
        """When it was accepted (UTC); None until then."""
        return self._study.create_time.ToDatetime(tzinfo=UTC) if self._study.HasField("create_time") else None

    @property
    def end_time(self) -> datetime | None:
        """When it reached a terminal state (UTC); None until then."""
        return self._study.end_time.ToDatetime(tzinfo=UTC) if self._study.HasField("end_time") else None

    @property
    def project(self) -> str:
        """Id of its project, which its experiments share. Empty in a request: as for an experiment."""
        return self._study.project

    @property
    def owner(self) -> str:
        """The user who submitted it; empty if the service has no users."""
        return self._study.owner

    @property
    def delete_time(self) -> datetime | None:
        """When it was deleted; unset if it is not deleted (UTC); None until then."""
        return self._study.delete_time.ToDatetime(tzinfo=UTC) if self._study.HasField("delete_time") else None

    @property
    def purge_time(self) -> datetime | None:
        """When it will be purged; until then a deleted study can be undeleted (UTC); None until then."""
        return self._study.purge_time.ToDatetime(tzinfo=UTC) if self._study.HasField("purge_time") else None

    @property
    def etag(self) -> str:
        """Changes with every change of a field that UpdateStudy can change, but not with progress. Output
        only, except in UpdateStudy.
        """
        return self._study.etag

    @property
    def notes(self) -> str:
        """Free text on any number of lines."""
        return self._study.notes
