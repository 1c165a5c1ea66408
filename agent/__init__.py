"""The workspace agent: does in a workspace what the API asks for, and never twice.

`__main__` what is given on the command line   `residence` the parts put together, from start to stop
`connection` the WebSocket to the API          `jobs` which job is done by whom, at most once
`ledger`, `begun` what was begun, and how it ended
`processes` commands that outlive the agent    `shim` the shell that runs one    `census` who belongs to a command
`output` what a command wrote                  `environment`, `limits` what a command gets
`paths`, `reading`, `writing`, `journal`, `edits`, `differences`, `upload` files
`instructions`, `skills` what a model reads first
`git` what has changed in repositories         `startup` the script of a build    `frames` words of the protocol
"""
