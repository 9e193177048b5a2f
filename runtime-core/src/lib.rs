//! Turns an OCI bundle into an isolated process.
//!
//! ```text
//! config.json --serde--> Spec --pure--> Plan --I/O--> Prepared --clone3--> init: the steps --> execve
//!    bundle              plan           prepare       launch               runtime-init
//!    what was asked      what we'll do  what we hold  who does it          doing it
//! ```
#![deny(missing_docs)]

pub mod bundle;
pub mod cgroup;
pub mod container;
mod error;
mod hooks;
mod host;
pub mod known;
mod launch;
mod plan;
mod prepare;
pub mod seccomp;
mod sys;
#[cfg(test)]
mod testing;

pub use bundle::Bundle;
pub use bundle::spec;
pub use container::{
    CgroupDriver, Container, CreateOptions, Created, ExecOptions, Executor, Explained, Running, Runtime,
    State, Status, Stdio, Stream,
};
pub use error::{Code, Error, Result};
