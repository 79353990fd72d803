//! The pages as people use them: real Chromium, at the real service with a real engine, registry and git server.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod parts;

#[path = "../support/browser/mod.rs"]
mod browser;

mod access;
mod account;
mod base_images;
mod builds;
mod create;
mod first_day;
mod hostile;
mod log;
mod pages;
mod pictures;
mod routes;
mod stage;
