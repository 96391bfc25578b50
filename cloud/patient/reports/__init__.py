"""Laboratory reports on the phone: told of when they may be read, shown with every flag in words."""
