"""Sources to Kafka, and the control plane. Read ``pipeline.py`` first."""

__version__ = "0.1.0"
