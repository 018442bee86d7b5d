"""The storage of sessions beyond the gateway's process: one contract (:mod:`.base`), several engines.

Knows nothing of sessions, links and upstreams: records, batches and bytes go in. The gateway decides what is in them.
"""
