"""YNAB and Plaid as stateful servers on loopback: neither can be had for tests and the demo.

They answer by the official OpenAPI files, keep state between requests, and do on command what the
real ones do rarely (`POST /_control`). What is not publicly known about the real ones is a switch.
"""
