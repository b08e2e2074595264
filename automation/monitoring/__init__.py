"""What is measured: figures of the past (`insights`), what stands now (`now`), and both for Prometheus."""
