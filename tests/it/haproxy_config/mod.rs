//! HAProxy's configuration as the project writes and reads it, held against HAProxy itself.

mod doctor;
mod fixes;
mod generate;
mod truths;
