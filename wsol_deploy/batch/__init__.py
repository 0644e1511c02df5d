"""Images in, masks and tables out: find, decode, predict, write; nothing lost on the way."""
