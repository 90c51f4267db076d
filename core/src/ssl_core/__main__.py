"""`python -m ssl_core` is `sslrun`."""
import sys

from .cli import main

sys.exit(main())
