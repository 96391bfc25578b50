"""Hand-over batches (标本交接): packed on the ward by scan, carried, received by scan; what is missing is seen."""
