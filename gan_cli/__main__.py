"""python -m gan_cli <command> <arguments>: the console scripts where they are not on the path."""

from gan_cli.cli import main

if __name__ == "__main__":
    main()
