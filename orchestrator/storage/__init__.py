"""Where things are kept: local folders and remote URLs behind the same interface; used for recordings and studies.

Start with `storage.Storage`, a place, and its `files()`, which read and write whole files atomically (`files.Files`).
`retry` retries what a storage refuses now and then, `atomic` writes local files, `nofollow` reaches them without
following a link, `hashes` notes and checks what a file holds, and `passwords` hides the secrets of every
address that is printed, stored or logged.
"""
