//! Build logs: masked, bounded, durable while they grow, compressed once they are whole.
