"""The parts of the walk from a request to a clip: what is given, stages, states, decoding."""
