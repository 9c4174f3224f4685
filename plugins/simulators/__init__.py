"""The dialects: each exchange's protocol as the simulator plays it."""
