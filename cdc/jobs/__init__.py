"""Work that ends: rows of ``sync.jobs``, who runs them, and one file for each kind of it."""
