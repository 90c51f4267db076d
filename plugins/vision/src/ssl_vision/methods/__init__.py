"""Methods that the core's composers cannot express, one file each."""
