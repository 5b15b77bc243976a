"""Sources to Kafka, and the control plane. Read ``pipeline.py`` first."""
