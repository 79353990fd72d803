//! What is known of the Docker Engine.

/// The engine, as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineHealth {
    /// It has not been asked yet.
    Unknown,
    /// Its version.
    Up(String),
    /// Why it cannot be used.
    Down(String),
}
