//! Watches base images at their registries.

pub mod pace;
