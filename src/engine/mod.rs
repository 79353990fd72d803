//! The Docker Engine: builds and pushes. `bollard` appears here alone.
