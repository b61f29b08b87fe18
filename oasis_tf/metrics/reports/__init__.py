"""What an evaluation leaves behind: report, table, comparison with published values, plots."""
