"""Sets for the judge from the data of packages: ``python -m benchmarks.package_sets``; ``sources`` has them."""
