//! The rules of the product, without any I/O: what a name may be, what a push builds, which states follow which.
//!
//! Nothing here may touch the network, the disk, the clock or another module of this crate.

pub mod access;
pub mod audit;
pub mod base_graph;
pub mod build;
pub mod circles;
pub mod context;
pub mod delivery;
pub mod disk;
pub mod dockerfile;
pub mod documents;
pub mod engine_health;
pub mod event;
pub mod graph_layout;
pub mod ids;
pub mod image;
pub mod limits;
pub mod location;
pub mod notice;
pub mod path_filter;
pub mod platform;
pub mod polling;
pub mod progress;
pub mod remote_refs;
pub mod repository;
pub mod rule;
pub mod schedule;
pub mod source_url;
pub mod wave;
