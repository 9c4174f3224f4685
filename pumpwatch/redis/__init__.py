"""What processes and hosts share through Redis: answers, messages, limits. Without `redis.nodes` nothing of it runs."""
