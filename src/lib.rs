//! Hullworks: push to Git, get an image.

pub mod domain;
pub mod engine;
pub mod forge;
pub mod logs;
pub mod registry;
pub mod source;
pub mod tokens;
pub mod vault;
