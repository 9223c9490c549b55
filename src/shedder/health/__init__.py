"""Is the installation well."""
