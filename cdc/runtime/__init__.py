"""The ground under both sides: errors, retries, services, clients. No word of the domain."""
