"""Pictures as files: `landscape` draws DVAR's plane with matplotlib, `demo` the samples of a demonstration."""
