"""Where model answers come from.

provider          the contract: `ModelRequest` in, chunks out, `ProviderFailed` when it fails
registry          `Providers.provider_for(type)`, opened once per worker
litellm           every real provider; the only importer of litellm
asked, options    where a provider is, and a model config's call options in its words
http, sse         one streamed HTTP answer: connections, deadlines, server-sent events, facts of a failure
answer            the answer as it unfolds: pieces joined, calls numbered, its ending
openai_stream     chat-completion events read into it by us       anthropic_stream   messages events read into it by us
parsed            everybody's events read into it by litellm's parsers
fast              who reads which answer, and what became of it   shapes             what a value must be to be read
demo              a provider without a model, for newcomers and tests
"""
