"""Running sources as an operator meets them: control, requests, checks, status."""
