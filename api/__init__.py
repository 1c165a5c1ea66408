"""The web process.

app        the ASGI application and its life          serve       uvicorn around it
resources  what a handler may use, opened once        routes/     one file a resource, listed in ROUTES
caller     who asks, as parameter types               schemas/    bodies and views, for validation and OpenAPI
principals tokens to principals, cached               accounts    whose account one may see and change
errors     our errors as HTTP answers                 answers     JSON on the wire
requests   JSON in, and the router that reads it      bodies      bodies judged when the handler asks
doorway    request ids, rate limits, last resort      ratelimit   a token bucket for each caller
openapi    the document, finished                     parameters  parameters that chat routes share
content    what may be said in a message              idempotency one effect for each Idempotency-Key
nudges     telling Temporal, after the commit         live/       streams to watchers
provider_forms  what makes an acceptable provider
"""
