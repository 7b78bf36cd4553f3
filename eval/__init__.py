"""The science of the gate: judging, question sets, benchmarks and statistics."""
