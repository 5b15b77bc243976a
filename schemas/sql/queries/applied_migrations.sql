SELECT number, name, checksum FROM sync.migrations ORDER BY number
