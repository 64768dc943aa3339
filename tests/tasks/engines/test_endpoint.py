"""Which way leads to a server, and what it says of when to come again."""

from __future__ import annotations

import math
import os
import time
from email.utils import format_datetime

import httpx
import pytest

from tasks.engines.endpoint import _proxy, _seconds
from tasks.errors import UserError

from .fake_server import written
from .openai_scenes import asks, opened, serving


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense:::", "ftp://x"])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_no_proxy_stands_before_a_server_on_this_machine(
    proxies: pytest.MonkeyPatch, impatient: None, name: str, proxy: str
) -> None:
    proxies.setenv(name, proxy)
    async with serving() as servers, opened(servers, concurrency=2) as engine:
        assert await engine.ask(asks(3)) == [written(ask) for ask in asks(3)]


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.8.9.1", "http://[::1]:8000", "https://a.localhost"])
def test_names_of_this_machine_are_known(proxies: pytest.MonkeyPatch, url: str) -> None:
    proxies.setenv("ALL_PROXY", "http://proxy:3128")
    assert _proxy(url) is None


@pytest.mark.parametrize(
    ("url", "environment", "way"),
    [
        ("http://a:8000", {}, None),
        ("http://a:8000", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://a:8000", {"http_proxy": "p:1"}, "http://p:1"),
        ("http://a:8000", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://a", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a", {"ALL_PROXY": "socks5h://p:1"}, "socks5h://p:1"),
        ("http://a:8000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "b,a"}, None),
        ("http://a.corp:8000", {"HTTP_PROXY": "http://p:1", "no_proxy": ".corp"}, None),
        ("http://a:8000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("http://a:8000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "aa"}, "http://p:1"),
    ],
)
def test_servers_elsewhere_are_reached_as_the_environment_says(
    proxies: pytest.MonkeyPatch, url: str, environment: dict[str, str], way: str | None
) -> None:
    for name, value in environment.items():
        proxies.setenv(name, value)
    found = _proxy(url)
    assert (found and str(found.url).rstrip("/")) == way


@pytest.mark.parametrize("proxy", ["ftp://p", "socks4://p:1", "http://[::p", "x://"])
def test_a_proxy_of_no_use_is_told_in_a_line_without_its_address(proxies: pytest.MonkeyPatch, proxy: str) -> None:
    proxies.setenv("ALL_PROXY", proxy)
    with pytest.raises(UserError, match=r"^ALL_PROXY: .* http://a:8000.*NO_PROXY$"):
        _proxy("http://a:8000")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-7", 0.0),
        ("inf", math.inf),
        ("1e999", math.inf),
        ("nan", None),
        ("soon", None),
        ("9" * 5000, math.inf),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 99 Foo 99999 99:99:99", None),
        ("\x00" * 99, None),
    ],
)
def test_when_to_come_again_is_seconds_or_nothing(header: str | None, seconds: float | None) -> None:
    assert _seconds(httpx.Headers({} if header is None else {"retry-after": header})) == seconds


def test_when_to_come_again_may_be_a_date() -> None:
    import datetime

    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    date = format_datetime(later, usegmt=True)
    found = _seconds(httpx.Headers({"retry-after": date}))
    assert found is not None
    assert time.time() + found == pytest.approx(later.timestamp(), abs=2)
    by_its_own_clock = format_datetime(later - datetime.timedelta(minutes=1), usegmt=True)
    assert _seconds(httpx.Headers({"retry-after": date, "date": by_its_own_clock})) == 60.0
