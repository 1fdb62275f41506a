"""How the service is doing: metrics for Prometheus, health probes, drift detection."""
