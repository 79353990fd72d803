//! The real router and store, without engine, registry or git: what the API promises, request by request.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; Clippy sees only the functions with #[test] as tests"
)]

mod app;
mod builds;
mod health;
mod logs;
mod permissions;
mod registries;
mod repositories;
mod webhooks;
