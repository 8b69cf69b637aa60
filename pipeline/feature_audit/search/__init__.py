"""The Optuna study and the rule for K."""
