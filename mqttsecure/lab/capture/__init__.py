"""Bytes of a capture file to the two byte streams of each TCP connection, and back.

limits      how much of a hostile file is looked at, and why so much
frames      one captured frame; a whole capture file
files       tells the formats apart and reads a file
pcap        reads pcap
pcapng      reads pcapng, its Decryption Secrets Blocks included
link        from a frame to an IP packet: Ethernet, VLAN, Linux cooked, loopback, raw
ip          IPv4 and IPv6, fragments put together
tcp         one TCP segment
wireguard   recognizes WireGuard from outside
streams     segments to connections and ordered streams
reader      all of the above: a file to its connections
writer      writes pcapng (with secrets) and pcap
synthesis   frames for a conversation that was recorded at a socket and not on a wire
"""
