"""The command line: `iplab`. One file per topic; `app` has the group and the exit codes."""

from __future__ import annotations

from iplab.cli import (
    analyze,
    catalog,
    check,
    data,
    edit,
    look,
    phases,
    plot,
    quota,
    report,
    study,
    submit,
    theory,
    watch,
)
from iplab.cli.app import main

for _command in (
    submit.submit,
    watch.watch,
    look.list_experiments,
    look.show,
    look.runs,
    data.metrics,
    data.weights,
    check.check,
    plot.plot,
    study.study,
    study.list_studies,
    report.report,
    submit.extend,
    submit.retry,
    edit.update,
    edit.delete,
    edit.undelete,
    edit.purge,
    submit.cancel,
    submit.pause,
    submit.resume,
    theory.parameterizations,
    analyze.analyze,
    analyze.complete,
    phases.phases,
    catalog.catalog,
    quota.quota,
):
    main.add_command(_command)

__all__ = ["main"]
