"""Results for people: `console` prints tables and progress, `figures` draws pictures, `html` writes a page.

Nothing here computes a result: everything is passed in. No torch, no Ray; start with `console.tables`.
"""
