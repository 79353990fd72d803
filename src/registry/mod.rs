//! Image registries over HTTP: digests, tokens, and whom credentials may be shown.
