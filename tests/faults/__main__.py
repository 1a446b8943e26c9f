"""python -m tests.faults [--quick] [part of a fault's name]"""

from .table import main

if __name__ == "__main__":
    main()
