"""The fault programme: real service processes against a real Kafka, killed, frozen and cut off on purpose."""
