"""Tables for people, from outcomes; no torch, no Ray."""
