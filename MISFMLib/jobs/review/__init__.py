"""A page to check the results of a cohort by: outliers first, with pictures and reasons."""
