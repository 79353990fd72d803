//! The real router and store, without engine, registry or git: what the API promises, request by request.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; Clippy sees only the functions with #[test] as tests"
)]

mod app;
mod browser;
mod builds;
mod connections;
mod deliveries;
mod forges;
mod health;
mod lists;
mod logs;
mod openapi;
mod pages;
mod permissions;
mod protocol;
mod registries;
mod repositories;
mod repository_pages;
mod secrecy;
mod validation;
mod webhooks;
