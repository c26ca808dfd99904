"""What the store does inside a transaction: functions whose first argument is the `Transaction`."""
