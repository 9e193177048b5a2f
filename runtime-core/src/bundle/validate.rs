//! placeholder
use super::spec::*;
use crate::error::Result;
pub(crate) fn validate(_: &Spec) -> Result<()> {
    Ok(())
}
pub(crate) fn validate_process(_: &Process) -> Result<()> {
    Ok(())
}
pub(crate) fn sysctl_path(_: &str) -> Option<String> {
    None
}
