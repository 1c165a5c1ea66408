"""`python -m activities`: the worker process by itself; `turnstone worker` is the same with the service's log lines."""

import logging

from activities.serve import main
from models.settings import load_settings

if __name__ == "__main__":
    settings = load_settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    main(settings)
