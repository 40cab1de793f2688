"""From raw posts to chain-of-thought columns: prompts, teacher client, response store, runner, batch files."""
