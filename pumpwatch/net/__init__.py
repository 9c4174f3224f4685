"""Network access: streams, WebSocket frames, HTTP, back-off and rate limits."""
