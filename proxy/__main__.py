"""`python -m proxy` is the command `askonce`."""

from proxy.cli import main

if __name__ == "__main__":
    main()
