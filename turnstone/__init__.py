"""The front door: the command line, and the whole service on one machine. Imports downwards only.

__main__                          the list of commands
dev stack supervisor processes    `turnstone dev`: what runs, in which order, kept alive, tied to its parent
embedded_postgres embedded_temporal data_dir ports
roles                             `api`, `worker`, `migrate`, `bootstrap`: one process each
doctor findings                   what is wrong, and what to do
cli/                              `chat`, `chats`, `providers`, `models`: a client of the API
logs terminal                     how we speak to machines and to people
"""
