"""`python -m metamusic`."""

from metamusic.cli import main

if __name__ == "__main__":
    main()
