"""What the people who run the service start: the service and its parts, doctor, backup, sweeper."""
