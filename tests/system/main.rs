//! System tests: the real binary, a real Docker Engine, a real registry, a real git server, seen from outside.

#[path = "../support/mod.rs"]
mod support;

mod parts;
mod push;
