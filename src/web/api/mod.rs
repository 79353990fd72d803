//! The HTTP API under `/api/v1`, one file per resource, and its own description.

mod audit;
pub mod builds;
pub mod deliveries;
mod document;
mod health;
mod logs;
mod members;
mod openapi;
mod organisations;
mod pagination;
mod registries;
mod repositories;
mod save;
mod stars;
mod text_pieces;
pub mod triggers;

pub use self::{
    openapi::{described_routes, routes},
    pagination::Page,
};
