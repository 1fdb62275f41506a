"""Apache Kafka through confluent-kafka (librdkafka), an optional and faster client."""
