//! Seals secrets at rest with the key file of this installation.
