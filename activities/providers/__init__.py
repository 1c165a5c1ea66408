"""Where model answers come from.

provider   the contract: `ModelRequest` in, chunks out, `ProviderFailed` when it fails
registry   `Providers.provider_for(type)`, opened once per worker
litellm    every real provider; the only importer of litellm
options    a model config's call options in each provider's words
http       one streamed HTTP answer: deadlines, server-sent events, facts of a failure
answer     the answer as it unfolds: chunks, numbered tool calls, its ending
demo       a provider without a model, for newcomers and tests
"""
