"""What surrounds a process: settings, secrets, variables of other programs, private folders."""
