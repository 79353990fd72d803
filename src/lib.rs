//! Hullworks: push to Git, get an image.

pub mod domain;
