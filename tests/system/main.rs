//! System tests: the real binary, a real Docker Engine, a real registry, a real git server, seen from outside.

#[path = "../support/mod.rs"]
mod support;

mod examples;
mod parts;
mod push;
