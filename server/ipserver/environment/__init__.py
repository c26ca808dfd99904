"""A process's environment: settings, secrets, variables of other programs, private folders."""
