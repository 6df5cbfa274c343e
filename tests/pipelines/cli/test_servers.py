"""Commands about a server: doctor, iam-policy."""

from __future__ import annotations

import json
import re

import pytest


@pytest.mark.slow
def test_doctor_says_that_profile_and_server_agree(tierlake, server):
    place = {"TIERLAKE_ENDPOINT_URL": server.endpoint_url, "TIERLAKE_KEY": server.key, "TIERLAKE_SECRET": server.secret}
    answer = tierlake("doctor", "--json", env=place)
    assert answer.code == 0, answer.err
    assert answer.document["agrees"] is True
    assert answer.document["profile"] == server.name
    row = next(row for row in answer.document["rows"] if row["what"] == "encryption dsse-kms")
    assert row["agree"] is True
    assert row["server"].startswith("no: ")


@pytest.mark.slow
def test_doctor_fails_where_they_differ(tierlake, minio):
    place = {"TIERLAKE_ENDPOINT_URL": minio.endpoint_url, "TIERLAKE_KEY": minio.key, "TIERLAKE_SECRET": minio.secret}
    answer = tierlake("doctor", "--profile", "aws", env=place)
    assert answer.code == 1
    assert re.search(r"^! +bucket CORS ", answer.out, re.MULTILINE)


def test_iam_policy(tierlake):
    asked = ("iam-policy", "--role", "writer", "--bucket", "warehouse", "--prefix", "flights")
    answer = tierlake(*asked)
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert document == tierlake(*asked, "--json").document
    resources = {statement["Sid"]: statement["Resource"] for statement in document["Statement"]}
    assert resources["Objects"] == ["arn:aws:s3:::warehouse/flights/*"]
    assert resources["List"] == ["arn:aws:s3:::warehouse"]  # confined by its condition
    assert tierlake("iam-policy", "--role", "root", "--bucket", "warehouse").code == 2
