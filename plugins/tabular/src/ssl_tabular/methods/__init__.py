"""Methods that the composers of the core cannot express, one file each."""
