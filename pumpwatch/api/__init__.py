"""The page and the HTTP API of a running collector. The API reads trades and never writes them.

To add a route:

1. Write a handler in a module of this package: a function that takes an `ApiCall` (`pumpwatch/api/route.py`). It returns a
   msgspec struct, which becomes JSON, or an `Answer` with bytes or an iterator of pieces as its body. `call.desk`
   (`pumpwatch/api/desk.py`) gives access to the collector. A handler runs in a greenlet of the hub, so run everything that takes
   more than a few ms in a native thread: `call.desk.offload(function, *arguments)`. Raise `Problem(status, detail)` for errors.
2. List it as a `Route` in the module's `ROUTES`: path, handler, summary, and the structs of its query, body and answer. The
   OpenAPI file is generated from these. Set `token=True` if the call changes something.
3. Add the module's `ROUTES` to `pumpwatch/api/routes.py`, and run `python packaging/doc_pages.py`.

An endless answer (server-sent events) is an iterator too. It is closed when the client disconnects or reads nothing for SEND_S
seconds, so it must yield at least a comment line every few seconds. Static files in `page/` are served at `/NAME` from memory,
with a content security policy that allows no inline script or style; `page/index.html` is `/`.

Layers, from the outside: `service.py` (binds, retries), `server.py` and `head.py` (sockets, size and time limits),
`rate_limits.py` (requests per client), `guard.py` (Host, Origin, token, sessions), `application.py` (falcon routes), handlers.
"""
