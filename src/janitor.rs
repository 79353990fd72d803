//! Seals the logs of builds that have ended.
