"""All families: each file defines the variants of one or two."""

import multicast  # noqa: F401
import routing  # noqa: F401
import forwarding  # noqa: F401
import sockets  # noqa: F401
import nftables  # noqa: F401
import ipsec  # noqa: F401
import queues  # noqa: F401
import damaged  # noqa: F401
import devices  # noqa: F401
import connections  # noqa: F401
import limits  # noqa: F401
import several  # noqa: F401
