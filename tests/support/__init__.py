"""What tests share: tiny models, fictional posts, and stand-ins for servers, the Hub and entry points."""
