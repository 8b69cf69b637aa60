"""The digest of the input data."""

from __future__ import annotations

import hashlib
import os

from feature_audit.data.messages import one_line
from feature_audit.data.reading import recbole
from feature_audit.data.reading.files import local_files
from feature_audit.data.reading.remote import glance, is_remote
from feature_audit.errors import AuditError


def input_digest(data: str) -> str:
    """blake2b of every input file's name, hive keys and bytes; remote data are only sampled (``glance``)."""
    digest = hashlib.blake2b(digest_size=16)
    if is_remote(data):
        for part in glance(data):
            digest.update(part)
        return digest.hexdigest()
    files = list(local_files(data))
    if files[0].suffix == ".inter":
        files += [file for file in recbole.companions(files[0]).values() if file.is_file()]
    for file in files:
        digest.update(os.fsencode("/".join(part for part in file.parts if "=" in part or part == file.name)))
        try:
            with file.open("rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
        except OSError as error:
            raise AuditError(f"data={file}: cannot be read ({error.strerror or one_line(error)})") from None
    return digest.hexdigest()
