"""How many cases: a few hundred of each, always the same; `SSL_FUZZ=20000` draws as many new ones."""
import os

from hypothesis import HealthCheck, Phase, settings

os.environ["SSL_CORE_UNPACKED_GB"] = "0.1"  # a case may not take the machine's memory
FULL = int(os.environ.get("SSL_FUZZ", "0"))
shared = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck),
              phases=(Phase.explicit, Phase.generate, Phase.shrink))
settings.register_profile("few", max_examples=200, derandomize=True, **shared)
settings.register_profile("full", max_examples=FULL or 1, **shared)
settings.load_profile("full" if FULL else "few")
