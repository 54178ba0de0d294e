"""`python -m openmem.server` is `omp-server`."""

from __future__ import annotations

from openmem.server import main

if __name__ == "__main__":
    main()
