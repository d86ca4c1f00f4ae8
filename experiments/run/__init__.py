"""One job: built, trained, judged."""
