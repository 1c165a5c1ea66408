"""`python -m activities`: the worker process."""

from activities.serve import main
from models.settings import load_settings

if __name__ == "__main__":
    main(load_settings())
