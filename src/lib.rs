//! Hullworks: push to Git, get an image.

pub mod app;
pub mod build_log;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod forge;
pub mod intake;
pub mod janitor;
pub mod layout;
pub mod logs;
pub mod mail;
pub mod oidc;
pub mod passwords;
pub mod registry;
pub mod reporter;
pub mod secrets;
pub mod signals;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod tokens;
pub mod vault;
pub mod web;
pub mod worker;
