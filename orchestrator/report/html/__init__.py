"""Pages that need no network: `landscape` fills the template `landscape.html` with the data of a landscape."""
