"""The external provisioner: somebody runs the agent on a host of their own, with the build's token."""

from activities.provisioners.provisioner import Building, Log, State


class External:
    """There is nothing to do: the agent of an earlier build is refused as soon as there is a newer one."""

    async def start(self, build: Building, log: Log) -> State:
        for agent in build.agents:
            log(f"Agent {agent.name} is to be started by hand; its credentials say how.", stage="agents")
        return {}

    async def stop(self, build: Building, log: Log) -> State:
        log("The agent is refused from now on.", stage="agents")
        return {}

    async def delete(self, build: Building, log: Log) -> State:
        return await self.stop(build, log)
