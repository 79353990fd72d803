//! Forges: their signatures and payloads, turned into our own events.
