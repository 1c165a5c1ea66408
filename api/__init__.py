"""The web process.

app        the ASGI application and its life          serve      uvicorn around it
resources  what a handler may use, opened once        routes/    one file a resource, listed in ROUTES
caller     who asks, as parameter types               schemas/   bodies and views, for validation and OpenAPI
principals tokens to principals, cached               live/      streams to watchers
errors     our errors as HTTP answers                 answers    JSON on the wire
requests   JSON in, and the router that reads it      doorway    request ids, rate limits, last resort for bugs
"""
