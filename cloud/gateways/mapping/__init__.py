"""An instrument's channels tried on a real message before they meet a patient: a stored one or an uploaded capture."""
