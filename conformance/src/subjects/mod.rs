//! The tests: one file a subject, each with a table.

mod containerd;
mod kill_sweep;
mod lifecycle;

use crate::harness::Test;

const SUBJECTS: &[&[Test]] = &[lifecycle::TESTS, containerd::TESTS, kill_sweep::TESTS];

/// All tests, in the order of the tables.
pub fn all() -> impl Iterator<Item = &'static Test> {
    SUBJECTS.iter().flat_map(|subject| subject.iter())
}
