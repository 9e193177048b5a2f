//! Conversions from the types of the oci-spec crate, for programs that build configurations with it.
//!
//! Both are the same JSON, so that is what they go through: a field that one of them gets later is not forgotten here.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::spec::{Process, Spec};
use crate::error::{Code, Error, Result};

fn convert<T: DeserializeOwned>(from: &impl Serialize) -> Result<T> {
    serde_json::to_value(from)
        .and_then(serde_json::from_value)
        .map_err(|error| Error::new(Code::InvalidConfig, "convert configuration").reason(error.to_string()))
}

/// ```
/// use runtime_core::{Bundle, spec::Spec};
/// let spec = Spec::try_from(oci_spec::runtime::Spec::default()).unwrap();
/// assert_eq!(spec.process.as_ref().unwrap().args, ["sh"]);
/// assert!(Bundle::new("/bundle", spec).is_ok());
/// ```
impl TryFrom<oci_spec::runtime::Spec> for Spec {
    type Error = Error;

    fn try_from(spec: oci_spec::runtime::Spec) -> Result<Spec> {
        convert(&spec)
    }
}

impl TryFrom<oci_spec::runtime::Process> for Process {
    type Error = Error;

    fn try_from(process: oci_spec::runtime::Process) -> Result<Process> {
        convert(&process)
    }
}

impl TryFrom<Spec> for oci_spec::runtime::Spec {
    type Error = Error;

    fn try_from(spec: Spec) -> Result<oci_spec::runtime::Spec> {
        convert(&spec)
    }
}

impl TryFrom<Process> for oci_spec::runtime::Process {
    type Error = Error;

    fn try_from(process: Process) -> Result<oci_spec::runtime::Process> {
        convert(&process)
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime as oci;

    use super::super::spec::{NamespaceType, Process, Spec};
    use crate::Bundle;

    /// The other crate keeps sets, which come in any order.
    fn sorted(mut process: Process) -> Process {
        if let Some(sets) = &mut process.capabilities {
            let all = [
                &mut sets.bounding,
                &mut sets.effective,
                &mut sets.inheritable,
                &mut sets.permitted,
                &mut sets.ambient,
            ];
            all.into_iter().for_each(|set| set.sort());
        }
        process
    }

    #[test]
    fn a_complete_configuration_there_and_back() {
        let theirs = oci::Spec::default();
        let ours = Spec::try_from(theirs.clone()).unwrap();
        assert_eq!(ours.oci_version, *theirs.version());
        let process = ours.process.as_ref().unwrap();
        let their_process = theirs.process().as_ref().unwrap();
        assert_eq!(process.args, *their_process.args().as_ref().unwrap());
        assert_eq!(
            process.rlimits.len(),
            their_process.rlimits().as_ref().unwrap().len()
        );
        assert!(
            process
                .capabilities
                .as_ref()
                .unwrap()
                .bounding
                .iter()
                .all(|name| name.starts_with("CAP_"))
        );
        assert_eq!(ours.mounts.len(), theirs.mounts().as_ref().unwrap().len());
        assert!(
            ours.linux
                .namespaces
                .iter()
                .any(|namespace| namespace.kind == NamespaceType::Pid)
        );
        assert!(!ours.linux.masked_paths.is_empty());
        Bundle::new("/bundle", ours.clone()).unwrap();
        let back = Spec::try_from(oci::Spec::try_from(ours.clone()).unwrap()).unwrap();
        let sorted = |spec: Spec| Spec {
            process: spec.process.map(sorted),
            ..spec
        };
        assert_eq!(sorted(back), sorted(ours));
    }

    #[test]
    fn a_process_there_and_back() {
        let theirs = oci::ProcessBuilder::default()
            .args(["/bin/a".to_owned(), "b".to_owned()])
            .cwd("/tmp")
            .oom_score_adj(7)
            .no_new_privileges(true)
            .user(
                oci::UserBuilder::default()
                    .uid(5u32)
                    .gid(6u32)
                    .additional_gids(vec![7u32])
                    .build()
                    .unwrap(),
            )
            .build()
            .unwrap();
        let ours = Process::try_from(theirs).unwrap();
        assert_eq!(
            (ours.args.len(), ours.oom_score_adj, ours.no_new_privileges),
            (2, Some(7), true)
        );
        assert_eq!(
            (ours.user.uid, ours.user.gid, ours.user.additional_gids.as_slice()),
            (5, 6, &[7][..])
        );
        let back = oci::Process::try_from(ours.clone()).unwrap();
        assert_eq!(sorted(Process::try_from(back).unwrap()), sorted(ours));
    }
}
