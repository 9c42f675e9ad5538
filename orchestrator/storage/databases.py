"""How databases of any kind are connected to: with a limit, where the driver has one."""

from typing import Any

from sqlalchemy.engine import URL

#: What a server that lives may take to answer; a driver itself may wait for ever.
CONNECT_SECONDS = 10
_DRIVERS = ("psycopg", "psycopg2")


def connect_args(url: URL) -> dict[str, Any]:
    """Return the arguments with which SQLAlchemy's engine for an address gives up after `CONNECT_SECONDS`."""
    is_known = url.get_backend_name() == "postgresql" and url.get_driver_name() in _DRIVERS
    return {"connect_timeout": CONNECT_SECONDS} if is_known and "connect_timeout" not in url.query else {}
