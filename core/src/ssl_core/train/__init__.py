"""The one runner, on Lightning: the only place that imports it."""
