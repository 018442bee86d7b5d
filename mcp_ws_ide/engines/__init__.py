"""The storage of sessions beyond the gateway's process: one contract (:mod:`.base`), several engines.

Knows nothing of links and upstreams: stored sessions, batches and bytes go in. The gateway decides what is in them.
"""
