"""Programs for operators: the service and its parts, doctor, backup, sweeper."""
