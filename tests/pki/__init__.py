"""Tests of the certificate authority; OpenSSL is the judge."""
