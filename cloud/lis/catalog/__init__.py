"""The test catalogue: tests, tubes, panels, and dated ranges and limits that each carry a source and a state."""
