"""The command line: `ipserver`. One file per topic; `app` has the group and the options of all settings."""

from __future__ import annotations

from ipserver.cli import accounts, parts, tools
from ipserver.cli.app import main

for _command in (
    parts.up_command,
    parts.api_command,
    parts.dispatch_command,
    parts.forward_command,
    parts.web_command,
    tools.migrate_command,
    tools.mlflow_command,
    tools.doctor_command,
    tools.backup_command,
    tools.resend_command,
    tools.settings_command,
    accounts.token_group,
    accounts.project_group,
    accounts.quota_group,
):
    main.add_command(_command)

__all__ = ["main"]
