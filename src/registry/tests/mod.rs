//! Real registries, and servers that behave as none should.

mod hostile;
mod look;
mod real;
mod support;
