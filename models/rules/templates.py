"""What a version of a template says to its provisioner: agents, and the place they work in."""

from collections.abc import Mapping
from string import Template
from typing import Any

from models.errors import Invalid, Validation
from models.rules import workspaces

MOST_AGENTS = 10
LONGEST_SCRIPT = 64 * 1024
DAY = 86_400

AGENT: Mapping[str, Any] = {
    "name": "main",
    "directory": "",
    "startup_script": "",
    "environment": {},
    "display_order": 0,
    "connection_timeout_seconds": 120,
    "startup_timeout_seconds": 600,
}
LIMITS = ("memory_bytes", "processes", "open_files", "file_bytes", "cpu_seconds")
DOCKER = ("image", "memory_bytes", "cpus", "network")


def sound(provisioner: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with all its fields; raises Invalid that names what is wrong. Without agents it has one, `main`."""
    wrong: list[Validation] = []
    agents = [_agent(each, f"spec.agents[{number}]", wrong) for number, each in enumerate(_agents(spec, wrong))]
    names = [each["name"].lower() for each in agents]
    if len(set(names)) < len(names):
        wrong.append(Validation("spec.agents", "Two agents have the same name."))
    place = spec.get(provisioner) or {}
    known = {"local": LIMITS, "docker": DOCKER, "external": ()}[provisioner]
    if not isinstance(place, Mapping):
        wrong.append(Validation(f"spec.{provisioner}", "must be an object"))
        place = {}
    unknown = [*(set(spec) - {"agents", provisioner}), *(f"{provisioner}.{each}" for each in set(place) - {*known})]
    wrong += [Validation(f"spec.{each}", "is not known") for each in sorted(unknown)]
    wrong += _place(provisioner, place)
    if wrong:
        raise Invalid("Invalid template spec.", f"{wrong[0].field}: {wrong[0].detail}", wrong)
    return {"agents": agents, provisioner: dict(place)}


def filled(text: str, parameters: Mapping[str, str]) -> str:
    """The text with `${parameter}` replaced; what is no parameter stays."""
    return Template(text).safe_substitute(parameters)


def environment(own: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """An agent's environment: the template's, with parameters filled in, and each parameter under its name."""
    named = {f"PARAMETER_{name.upper().replace('-', '_')}": value for name, value in parameters.items()}
    return named | {name: filled(value, parameters) for name, value in own.items()}


def _agents(spec: Mapping[str, Any], wrong: list[Validation]) -> list[Any]:
    agents = spec.get("agents") or [{}]
    if not isinstance(agents, list) or len(agents) > MOST_AGENTS:
        wrong.append(Validation("spec.agents", f"must be a list of {MOST_AGENTS} agents at most"))
        return []
    return agents


def _agent(given: Any, field: str, wrong: list[Validation]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        wrong.append(Validation(field, "must be an object"))
        return dict(AGENT)
    wrong += [Validation(f"{field}.{each}", "is not known") for each in sorted(set(given) - set(AGENT))]
    agent = {**AGENT, **{name: value for name, value in given.items() if value is not None}}
    for name, default in AGENT.items():
        if type(agent[name]) is not type(default):
            wrong.append(Validation(f"{field}.{name}", f"must be of type {_word(default)}"))
            agent[name] = default
    try:
        workspaces.check_name(agent["name"])
    except Invalid as bad:
        wrong.append(Validation(f"{field}.name", bad.validations[0].detail))
    if any(not isinstance(value, str) for value in agent["environment"].values()):
        wrong.append(Validation(f"{field}.environment", "must map names to strings"))
    if len(agent["startup_script"]) > LONGEST_SCRIPT:
        wrong.append(Validation(f"{field}.startup_script", f"must be at most {LONGEST_SCRIPT} characters"))
    for name in ("connection_timeout_seconds", "startup_timeout_seconds"):
        if not 1 <= agent[name] <= DAY:
            wrong.append(Validation(f"{field}.{name}", f"must be 1 to {DAY}"))
    return agent


def _place(provisioner: str, place: Mapping[str, Any]) -> list[Validation]:
    wrong = []
    for name, value in place.items():
        if name in ("image", "network"):
            if not isinstance(value, str) or not value:
                wrong.append(Validation(f"spec.docker.{name}", "must be a text"))
        elif isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            wrong.append(Validation(f"spec.{provisioner}.{name}", "must be a positive number"))
    if provisioner == "docker" and not place.get("image"):
        wrong.append(Validation("spec.docker.image", "is required"))
    return wrong


def _word(default: object) -> str:
    return {str: "string", int: "integer", dict: "object"}[type(default)]
