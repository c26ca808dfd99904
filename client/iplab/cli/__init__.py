"""The command line: `iplab`. One file per topic; `app` has the group and the exit codes."""

from __future__ import annotations

from iplab.cli import (
    analyze,
    audit,
    catalog,
    check,
    complete,
    completion,
    data,
    edit,
    look,
    phases,
    plot,
    quota,
    report,
    specs,
    study,
    submit,
    theory,
    watch,
)
from iplab.cli.app import main

for _command in (
    specs.init,
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
    specs.clone,
    specs.diff,
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
    complete.complete,
    phases.phases,
    catalog.catalog,
    quota.quota,
    audit.audit,
    completion.completion,
):
    main.add_command(_command)

__all__ = ["main"]
