//! The HTTP API under `/api/v1`, one file per resource, and its own description.

mod audit;
mod base_images;
pub mod builds;
mod changes;
pub mod deliveries;
mod document;
mod health;
mod logs;
mod members;
mod openapi;
mod organisations;
mod pagination;
pub mod polls;
mod registries;
mod repositories;
mod save;
mod stars;
mod text_pieces;
pub mod triggers;
mod waves;

pub use self::{
    changes::{Expected, check, delete, document_of, save, start_first_builds},
    document::RepositoryInput,
    openapi::{described_routes, routes},
    pagination::Page,
};
