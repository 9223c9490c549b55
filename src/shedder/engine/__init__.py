"""What RQ keeps in Redis, read without any subclass of RQ."""
