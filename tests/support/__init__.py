"""What several tests share.

process   a broker that is really started, from this checkout
"""
