"""Messages to people: stored with the fact they tell of, sent by a job, tried again, recorded."""
