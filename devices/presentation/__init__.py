"""How hubs and installs are shown: words, badges, stories, charts, and values for programs."""
