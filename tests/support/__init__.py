"""What several tests share.

config    a configuration with certificates and users, for such a broker
foreign   clients of other makers, which a machine may lack
process   a broker that is really started, from this checkout
"""
