#!/bin/sh
# Create the namespace and the search attributes that Turnstone uses. Safe to repeat.
set -eu

for _ in $(seq 60); do
    if temporal operator cluster health >/dev/null 2>&1; then break; fi
    sleep 1
done

temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"

# The server caches namespaces: a new one is known everywhere only after some seconds.
for _ in $(seq 60); do
    if existing=$(temporal operator search-attribute list --namespace "$NAMESPACE" 2>/dev/null); then break; fi
    sleep 1
done

for name in ChatId OwnerId OrganizationId ChatStatus Model; do
    case "$existing" in
    *"$name"*) ;;
    *) temporal operator search-attribute create --namespace "$NAMESPACE" --name "$name" --type Keyword ;;
    esac
done
