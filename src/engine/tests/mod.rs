//! The engine side against a real Docker Engine on its default socket, and a real registry where one is needed.

mod bases;
mod buildkit;
mod classic;
mod clean;
mod faults;
mod push;
mod support;
