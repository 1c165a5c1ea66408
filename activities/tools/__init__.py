"""What a model can do besides talking.

tool           what a tool is; `ToolFailed` is what the model reads when it could not be done
registry       `TOOLS`: the tools there are, in the order in which models are told of them
results        outcomes as they are stored
calls, scribe  one call from what was asked to what came of it, and the ledger's pen
schema         arguments as every provider takes them
commands       what the tools around processes have in common; `writing` those for files, `builds` those for workspaces
current_time   one tool a file, named for it (docs/tools.md has them all)
"""
