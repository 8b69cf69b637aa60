"""Choosing K: the rule, the comparison on validation, the retrainings that confirm it."""
