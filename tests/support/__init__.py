"""What several tests share.

config    a configuration with certificates and users, for such a broker
process   a broker that is really started, from this checkout
"""
