"""A stand-in for WeChat's official-account platform: OAuth in the web view, the access token, messages to followers."""
