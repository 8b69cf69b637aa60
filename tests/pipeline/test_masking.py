"""Credentials in addresses are not shown, and nothing else is touched."""

from __future__ import annotations

import logging

import pytest
from feature_audit.masking import MaskingFilter, masked, masked_values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://kim:pw@bucket/log.parquet", "s3://***@bucket/log.parquet"),
        ("https://token@host/a.csv", "https://***@host/a.csv"),
        ("https://kim:p@ss@host:8080/a", "https://***@host:8080/a"),
        ("https://host/a.parquet?sv=1&sig=a%2Fb#top", "https://host/a.parquet?sv=***&sig=***#top"),
        ("data=s3://kim:pw@b/x: cannot be opened (http://kim:pw@b/x?t=1)", None),
        ("s3://bucket/day=2026-01-01/*.parquet", "s3://bucket/day=2026-01-01/*.parquet"),
        ("s3://bucket/part-?.parquet", "s3://bucket/part-?.parquet"),
        ("logs/kim@home/a=1?b=2.csv", "logs/kim@home/a=1?b=2.csv"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("postgresql://kim:pw/1@db/mlflow", "postgresql://***@db/mlflow"),
        ("postgresql://kim:pw?#1=2@db:5432/mlflow", "postgresql://***@db:5432/mlflow"),
        ("mysql+pymysql://kim:'pw\"<1>@db/mlflow", "mysql+pymysql://***@db/mlflow"),
        ("postgresql://db/mlflow?user=kim&password=pw", "postgresql://db/mlflow?user=***&password=***"),
        ("https://host/a?x=1;sig=pw", "https://host/a?x=***;sig=***"),
        ("https://host/a#access_token=pw", "https://host/a#access_token=***"),
        ("http://127.0.0.1:5000/#/experiments/1", "http://127.0.0.1:5000/#/experiments/1"),
        ("postgresql+psycopg://kim:pw@db:5432/mlflow", "postgresql+psycopg://***@db:5432/mlflow"),
    ],
)
def test_an_address_without_its_credentials(text: str, shown: str | None) -> None:
    found = masked(text)
    assert "pw" not in found
    assert found == (shown or "data=s3://***@b/x: cannot be opened (http://***@b/x?t=***)")
    assert masked(found) == found
    assert masked_values({"data": text, "list": [text], "k": 3}) == {"data": found, "list": [found], "k": 3}


def test_what_is_logged_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(MaskingFilter())
    logging.getLogger("anything").warning("reading %s", "s3://kim:pw@bucket/x")
    address = "s3://{}@bucket/y".format("kim:pw")  # a traceback quotes this line
    try:
        raise OSError(address)
    except OSError:
        logging.getLogger("anything").exception("failed")
    assert "OSError: s3://***@bucket/y" in caplog.text
    assert "pw@" not in caplog.text
    assert caplog.messages == ["reading s3://***@bucket/x", "failed"]
