"""Settings that must stand before torch is imported by any test."""

import os

# As in `feature_audit.cli.entry`: two test workers share two cores, so a waiting thread must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
