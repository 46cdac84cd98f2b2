"""Records and references to tables, plots and pages. Never measures."""
