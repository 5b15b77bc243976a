"""One file per source, behind the protocol of ``protocol.py``."""
