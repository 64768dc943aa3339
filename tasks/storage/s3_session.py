"""HTTP of the S3 client, which no answer can send on to another server.

S3 says with an answer of its own in which region a bucket is; botocore then signs anew for that. The HTTP below it
would follow an address that an answer names, and hand a session's token on to it.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession


class DirectSession(AIOHTTPSession):
    """Follows no redirect."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Direct(await super()._get_session(proxy_url))


class _Direct:
    """An aiohttp session with which a redirect is an answer like any other."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    def request(self, method: str, **options: Any) -> Any:
        return self.session.request(method, **options, allow_redirects=False)
