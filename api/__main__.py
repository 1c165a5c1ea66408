"""`python -m api`: one API process, configured by its environment."""

from api.serve import main
from models.settings import load_settings

if __name__ == "__main__":
    main(load_settings())
