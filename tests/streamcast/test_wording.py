"""URLs as messages show them: without what logs in."""

from __future__ import annotations

import pytest

from streamcast.wording import shown_url, without_login


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@there:9464/metrics", "http://…@there:9464/metrics"),
        ("http://secret@there/metrics", "http://…@there/metrics"),
        ("ftp://me:sec/r@et@there:1/x", "ftp://…@there:1/x"),
        ("simplecache::ftp://me:secret@there/x", "simplecache::ftp://…@there/x"),
        ("zip://a.zip::ftp://me:secret@there/x", "zip://…@there/x"),
        ("me:secret@there:9092", "…@there:9092"),
        ("http://there/metrics?token=secret", "http://there/metrics?…"),
        ("http://me:secret@there/x?y", "http://…@there/x?…"),
        ("s3://bucket/pre@fix", "s3://bucket/pre@fix"),
        ("http://[::1]:9464/metrics", "http://[::1]:9464/metrics"),
        ("/var/lib/a:b@c/state", "/var/lib/a:b@c/state"),
        ("load@1", "load@1"),
        ("state?", "state?"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_login_and_query(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_a_text_about_a_url_is_shown_without_its_password() -> None:
    url = "ftp://me:a%2Fb@there/x"
    assert without_login(f"{url}: a/b is wrong, not a%2Fb", url) == "ftp://…@there/x: … is wrong, not …"
    assert without_login("not found", "s3://bucket/x") == "not found"
