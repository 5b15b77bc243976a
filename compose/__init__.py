"""Both ways to stand up the servers: containers (`compose.yaml`) and plain processes (`stack`)."""
