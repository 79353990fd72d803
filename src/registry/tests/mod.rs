//! Real registries, and servers that behave as none should.

mod hostile;
mod real;
mod support;
