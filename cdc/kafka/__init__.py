"""What a source does with Kafka: its broker, its topics, its cursor, who owns it."""
