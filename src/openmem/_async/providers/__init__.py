"""The built-in providers, one file each. They never import one another; `openmem._config.registry` names them."""
