"""Everything is built here, by hand, from the settings; and here alone both sides meet."""
