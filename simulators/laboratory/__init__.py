"""A made-up laboratory's history as plain rows, and errors put into it with their size and name. Knows no rule."""
