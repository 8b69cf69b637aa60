"""The data layer: turns a log into a training store."""

from feature_audit.data.columns.consumers import read_consumers, readers_of
from feature_audit.data.encoding.encoder_set import Encoders
from feature_audit.data.exchange import read_scores, write_raw_splits
from feature_audit.data.prepare import RULES, STORE_KEYS, data_digest, prepare
from feature_audit.data.prepared import Prepared
from feature_audit.data.store.local_copy import local_copy
from feature_audit.data.store.reader import Store
from feature_audit.data.store.sample import origin, pick_rows, share_of_rows, write_sample
from feature_audit.data.written_tables import example_rows, write_table

__all__ = [
    "RULES",
    "STORE_KEYS",
    "Encoders",
    "Prepared",
    "Store",
    "data_digest",
    "example_rows",
    "local_copy",
    "origin",
    "pick_rows",
    "prepare",
    "read_consumers",
    "read_scores",
    "readers_of",
    "share_of_rows",
    "write_raw_splits",
    "write_sample",
    "write_table",
]
