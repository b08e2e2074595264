"""`python -m automation.cli`."""

from automation.cli.app import main

if __name__ == "__main__":
    main()
