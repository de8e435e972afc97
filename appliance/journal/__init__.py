"""What streams commit, kept on disk as it comes, for those who set it up: docs/journal.md."""
