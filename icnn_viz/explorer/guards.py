"""Who may talk to the explorer: requests that name this machine, from its own pages; everything else is refused.

A page of a foreign site can make a browser send requests here, and with DNS rebinding even read the answers. Such
requests carry the foreign name as Host or Origin.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from icnn_core.errors import IcnnError

_log = logging.getLogger(__name__)

MOST_BODY = 20 * 2**20
"""Bytes of a request: an image dropped in, in base64, and what goes with it."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src blob:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def guard(server: Flask, host: str) -> None:
    """Refuse (403) what names another machine or comes from another site; cap bodies; set headers.

    Args:
        host: the address that the server is bound to.
    """
    names = allowed_names(host)
    server.config["MAX_CONTENT_LENGTH"] = MOST_BODY

    @server.before_request
    def _check() -> None:
        name = host_name(request.headers.get("Host", ""))
        if name not in names and not (not is_loopback(host) and _is_address(name)):
            abort(403, "This name is not one of the explorer's.")
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"{request.scheme}://{request.headers.get('Host')}":
            abort(403, "The request comes from another site.")

    @server.after_request
    def _set_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = _POLICY
        return response


def answer_malformed(server: Flask) -> None:
    """Answer 400, with a line and no traceback on the terminal, where values sent are none that the pages send.

    The traceback is there with -v.
    """

    def refuse(error: Exception) -> Response:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        _log.warning("a request was refused (%s)", reason)
        _log.debug("it was", exc_info=error)
        return Response(
            "These values are none that a page of the explorer sends.", 400, mimetype="text/plain"
        )

    for kind in (IcnnError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        server.register_error_handler(kind, refuse)


def allowed_names(host: str) -> frozenset[str]:
    """The host names, lower case, by which the server may be called: this machine's own."""
    if is_loopback(host):
        return LOOPBACK | {host}
    own = {host, socket.gethostname(), socket.getfqdn()}
    return LOOPBACK | {name.lower() for name in own if name not in ("", "0.0.0.0", "::")}


def host_name(header: str) -> str:
    """The name in a Host header, lower case, without port and brackets; "" if it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return ""
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return ""
    return parts.hostname or ""


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    """A number cannot be rebound: only names are looked up."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
