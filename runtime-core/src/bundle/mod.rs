//! The bundle: a directory with a `config.json`, and the root file system that it names.

pub mod spec;

use std::path::{Path, PathBuf};

use crate::error::Result;
use spec::Spec;

/// A configuration and the directory that its relative paths start from.
#[derive(Debug, Clone)]
pub struct Bundle {
    dir: PathBuf,
    spec: Spec,
}

impl Bundle {
    /// Reads `dir/config.json`.
    pub fn load(dir: impl AsRef<Path>) -> Result<Bundle> {
        todo!()
    }
    /// A configuration in memory; `dir` is the directory of its relative paths.
    pub fn new(dir: impl Into<PathBuf>, spec: Spec) -> Result<Bundle> {
        todo!()
    }
    /// The directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// The configuration.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
}
