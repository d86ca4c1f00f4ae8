"""One page of any number of runs: which contender won, by how much, how sure, and why."""
