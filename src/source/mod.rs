//! Git: fetches commits into bare mirrors and serves build contexts out of them. `git2` appears here alone.
