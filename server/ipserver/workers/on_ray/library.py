"""Ray itself: the only file that imports it. The variables that Ray reads at import are set before."""

import os

# Ray reads these variables at import: usage statistics are off, and actors without a GPU do not change the
# visible devices (otherwise Ray warns about its old default).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Niceness of workers of the dispatcher's own Ray: they yield to the API and the dispatcher, but not to the
# forwarder, which has 19 (Ray's default of 15 is too close to that).
os.environ.setdefault("RAY_worker_niceness", "5")
# Under `uv run`, Ray would start workers by `uv run` too, in a copy of the working folder.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

import ray
import ray.exceptions
from ray._private import parameter as ray_parameter
from ray._private import ray_constants
from ray._private import services as ray_services
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["NodeAffinitySchedulingStrategy", "ray", "ray_constants", "ray_parameter", "ray_services"]
