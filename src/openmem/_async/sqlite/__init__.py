"""The parts of the embedded provider."""
