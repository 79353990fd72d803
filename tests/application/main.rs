//! The real router and store, without engine, registry or git: what the API promises, request by request.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; Clippy sees only the functions with #[test] as tests"
)]

mod access;
mod app;
mod browser;
mod build_page;
mod build_pages;
mod builds;
mod connections;
mod deliveries;
mod delivery_pages;
mod entitlement;
mod forges;
mod health;
mod lists;
mod live;
mod logs;
mod openapi;
mod organisation_pages;
mod organisations;
mod pages;
mod permissions;
mod protocol;
mod registries;
mod repositories;
mod repository_pages;
mod secrecy;
mod sessions;
mod set_up;
mod settings;
mod sign_in;
mod validation;
mod webhooks;
