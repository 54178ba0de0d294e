"""`python -m openmem.cli` is `omp`."""

from __future__ import annotations

from openmem.cli import main

if __name__ == "__main__":
    main()
