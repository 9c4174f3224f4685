"""The answers, messages and limits that processes and hosts share through Redis. Without `redis.nodes` nothing of it runs."""
