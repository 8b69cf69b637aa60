"""load: read, profile, judge and split the log; encode it into a training store."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from pathlib import Path

from feature_audit.config import AuditConfig
from feature_audit.data import STORE_KEYS, Prepared, data_digest, prepare
from feature_audit.data.announcements import announcements
from feature_audit.data.overview import overview
from feature_audit.datasets.demo import DEFAULTS as DEMO_DEFAULTS
from feature_audit.datasets.demo import ensure_demo
from feature_audit.errors import UsageError
from feature_audit.fitting.cache import StageFolder

log = logging.getLogger(__name__)

#: Configuration keys that the store depends on; a change in any other key keeps it.
KEYS = ("data", *STORE_KEYS)


def complete(config: AuditConfig) -> AuditConfig:
    """Fill in what the demo log says about itself, and refuse an audit without a target.

    Raises:
        UsageError: no target is given for data of the user's own.
    """
    if config.data == "demo":
        given = config.model_fields_set
        config = config.model_copy(update={key: value for key, value in DEMO_DEFAULTS.items() if key not in given})
    if not config.target:
        raise UsageError(f"target: not given for data={config.data}; name the label column, such as target=clicked")
    return config


def locate(config: AuditConfig) -> AuditConfig:
    """The configuration with ``data`` as a path, glob or URI; the demo log is made where it is not there yet."""
    if config.data != "demo":
        return config
    path = ensure_demo(Path(config.work_dir).resolve() / "demo").path
    return config.model_copy(update={"data": str(path)})


def digest(config: AuditConfig) -> str:
    """Digest of the input's bytes and of the configuration that shapes the store."""
    located = locate(config)
    return data_digest(located, located.data)


def rules_digest(prepared: Prepared) -> str:
    """What the configuration says about each column, and what tables cost, as one digest."""
    rules = [(c.name, c.group, c.protected, c.ruled_out, c.cost) for c in prepared.columns]
    return hashlib.blake2b(repr((rules, sorted(prepared.table_costs.items()))).encode(), digest_size=16).hexdigest()


def load(config: AuditConfig, folder: StageFolder) -> Prepared:
    """Make the training store, or open the one made before.

    Raises:
        AuditError: anything wrong with the data, in one line.
    """
    if folder.done:
        return Prepared.load(folder.path)
    prepared = prepare(locate(config), folder.path, lambda message: log.info("load: %s", message))
    for warns, line in announcements(prepared.findings):
        log.log(logging.WARNING if warns else logging.INFO, "load: %s", line)
    by_name = {column.name: column.kind for column in prepared.columns}
    kinds = Counter(by_name[name] for name in prepared.schema.names)
    for line in overview(prepared.summary, prepared.split_info["kind"], kinds):
        log.info("load: %s", line)
    folder.finish({"digest": prepared.digest, "rows": prepared.rows, "features": len(prepared.schema.fields)})
    return prepared
