"""The page and the HTTP API of a running collector. It reads, and never writes trades.

To add a route:

1. Write a handler in a module of this package: a function that takes a `Call` (`pumpwatch/api/route.py`) and returns a msgspec
   struct, which becomes JSON, or an `Answer` with a body of its own (bytes, or an iterator of pieces that is sent as it comes).
   `call.desk` (`pumpwatch/api/desk.py`) is what the API sees of the collector; a handler runs in a greenlet of the hub, so
   whatever takes more than a few ms goes through `call.desk.offload(function, *arguments)`, which uses a native thread.
   Raise `Problem(status, detail)` for an error.
2. List it as a `Route` in the module's `ROUTES`: path, handler, summary, the structs of its query, body and answer. The OpenAPI
   file is made of these. `token=True` where it changes something.
3. Add the module's `ROUTES` to those of `pumpwatch/api/routes.py`, and run `python packaging/doc_pages.py`.

An endless answer (server-sent events) is an iterator too: it is closed when the client goes away or reads nothing for SEND_S
seconds, so it must yield at least a comment line every few seconds. Static files in `page/` are served at `/NAME` from memory,
with a content security policy that allows no inline script or style; `page/index.html` is `/`.

Layers, outside in: `service.py` (binds, tries again), `server.py` and `head.py` (sockets, limits, time limits), `rate_limits.py`
(how often a client may ask), `guard.py` (Host, Origin, token, sessions), `application.py` (routes to falcon), the handlers.
"""
