"""The built-in providers, one file each. They never import one another; `openmem.registry` names them."""
