"""The command line: it parses, and calls the functions that do the work."""
