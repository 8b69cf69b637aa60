"""Credentials in addresses: `s3://user:password@host/...?sig=...` is used as given, and shown without them."""

from __future__ import annotations

import logging
import re
from typing import Any

#: Replacement of a credential.
MASK = "***"
_ADDRESS = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>]+")
#: Up to the last `@` before the path; a password may contain characters that end other addresses (databases take
#: `p/w?#'`).
_USER = re.compile(r"(?<=://)(?:[^\s/?#]*|[^\s:/?#@]*:[^\s@]*)@")
_QUERY_VALUE = re.compile(r"([?&#;][^=&#;]+=)[^&#,;)]+")


def masked(text: str) -> str:
    """The text without user, password and query values in its addresses.

    A query may contain a signature or a token under any name, so all of its values are masked.
    """
    return _ADDRESS.sub(lambda found: _QUERY_VALUE.sub(rf"\1{MASK}", found[0]), _USER.sub(f"{MASK}@", text))


def masked_values(value: Any) -> Any:
    """A configuration as plain values (mappings, lists, texts, numbers) with every text masked."""
    if isinstance(value, dict):
        return {key: masked_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked_values(item) for item in value]
    return masked(value) if isinstance(value, str) else value


class MaskingFilter(logging.Filter):
    """Masks all log records, of any logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the record's message and traceback; no record is dropped."""
        record.msg, record.args = masked(record.getMessage()), None
        if record.exc_info:
            record.exc_text = masked(logging.Formatter().formatException(record.exc_info))
        return True
