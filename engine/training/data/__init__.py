"""From files to rows: sources, tokens made once, layouts, and an order that needs no state."""
