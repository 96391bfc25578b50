"""What each box must know to answer its instruments' host queries, as gap-free revisions."""
