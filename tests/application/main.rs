//! The real router and store, without engine or registry, and git only where sources are looked at: what the API promises, request by request.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; Clippy sees only the functions with #[test] as tests"
)]

#[path = "../support/command.rs"]
mod command;
#[path = "../support/git_server.rs"]
#[expect(dead_code, reason = "the system tests use more of it")]
mod git_server;

mod access;
mod administration;
mod app;
mod audit;
mod base_circles;
mod base_images;
mod base_pages;
mod browser;
mod build_page;
mod build_pages;
mod builds;
mod connections;
mod create_page;
mod deliveries;
mod delivery_pages;
mod entitlement;
mod forges;
mod gitlab_and_gitea;
mod health;
mod identity_provider;
mod lists;
mod live;
mod logs;
mod mail_server;
mod notifications;
mod openapi;
mod organisation_pages;
mod organisations;
mod pages;
mod permissions;
mod polls;
mod protocol;
mod provider_sign_in;
mod registries;
mod registry_webhooks;
mod repositories;
mod repository_pages;
mod schedules;
mod secrecy;
mod sessions;
mod set_up;
mod settings;
mod settings_page;
mod sign_in;
mod validation;
mod waves;
mod webhooks;
