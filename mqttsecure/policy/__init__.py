"""The policy chain, the broker's policy decision point.

chain         the ordered chain of policies and its answer to one request
asking        puts a request to the policies of its stage, one after another
fold          how the policies' decisions become one verdict
identity      principals, their aliases, and who a client is after AUTHENTICATE
obligations   what a decision may demand, and which demand wins
breaker       keeps a failing policy from being asked over and over
slots         how many questions a policy may have under way, and the line of those that wait
counters      what the chain counts
review        what can be said of a chain before it runs: faults, and who can permit what
registry      finds the policies that are installed, strictly
environment   what a policy may ask of the broker around it
https         asks HTTPS services; https_tls whom to trust, https_bounds how much may come
secrets       reads files that only the broker may read
nft           compiles the ACCEPT stage to nftables, with nft_policies, nft_bans, nft_limits and nft_ruleset;
              nft_listing reads it back
workers       the bounded threads for work that would block the reactor
builtin       the policies that come with the broker
"""
