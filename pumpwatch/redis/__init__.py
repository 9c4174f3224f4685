"""The answers, messages and limits that processes and hosts share through Redis. Nothing of it runs without `redis.nodes`."""
