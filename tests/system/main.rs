//! System tests: the real binary, a real Docker Engine, a real registry, a real git server, seen from outside.

#[path = "../support/mod.rs"]
mod support;

mod absence;
mod apply;
mod base_images;
mod cancel;
mod command_line;
mod crash;
mod dockerfile;
mod examples;
mod hostile;
mod logs;
mod parts;
mod paths;
mod polls;
mod push;
mod queue;
mod registry;
mod registry_reports;
mod submodules;
