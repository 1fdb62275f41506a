"""Commands that read a file of observations, and what they share: ``reading`` files and naming ``outputs``."""
