"""What a model can do besides talking.

tool           what a tool is; `ToolFailed` is what the model reads when it could not be done
registry       `TOOLS`: the tools there are, in the order in which models are told of them
results        outcomes as they are stored
current_time   one tool a file, named for it
"""
