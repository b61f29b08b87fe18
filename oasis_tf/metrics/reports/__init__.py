"""Reports of evaluations: files, tables, comparisons with published values, plots."""
