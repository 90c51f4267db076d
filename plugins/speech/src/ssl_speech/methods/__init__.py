"""Methods on frames; each file reads like its paper."""
