//! The tests: one file a subject, each with a table.

mod cgroups;
mod cli;
mod console;
mod containerd;
mod devices;
mod embedding;
mod errors;
mod exec;
mod faults;
mod hooks;
mod hostile_mounts;
mod hostile_names;
mod hostile_process;
mod identity;
mod kill_sweep;
mod lifecycle;
mod limits;
mod mount_options;
mod mounts;
mod namespaces;
mod process;
mod races;
mod security;

use crate::harness::Test;

const SUBJECTS: &[&[Test]] = &[
    lifecycle::TESTS,
    errors::TESTS,
    process::TESTS,
    identity::TESTS,
    namespaces::TESTS,
    mounts::TESTS,
    mount_options::TESTS,
    devices::TESTS,
    security::TESTS,
    cgroups::TESTS,
    limits::TESTS,
    console::TESTS,
    exec::TESTS,
    hooks::TESTS,
    cli::TESTS,
    hostile_mounts::TESTS,
    hostile_process::TESTS,
    hostile_names::TESTS,
    faults::TESTS,
    races::TESTS,
    containerd::TESTS,
    kill_sweep::TESTS,
    embedding::TESTS,
];

/// All tests, in the order of the tables.
pub fn all() -> impl Iterator<Item = &'static Test> {
    SUBJECTS.iter().flat_map(|subject| subject.iter())
}
