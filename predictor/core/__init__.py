"""What every part may use: ids, results, problems, the operator's log lines."""
