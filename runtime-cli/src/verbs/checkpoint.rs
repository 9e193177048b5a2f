//! `checkpoint` and `restore`: their command lines, which callers probe for, are there; the rest is not yet.

use runtime_core::{Code, Error, Result};

use super::create::{BUNDLE, CONSOLE_SOCKET, NO_PIVOT, PID_FILE};
use crate::args::{Arity, Flag, FlagsEnd};
use crate::command::{Call, Command, Failure};

const IMAGE_PATH: Flag = Flag::text("image-path", "directory of the image files");
const WORK_PATH: Flag = Flag::text("work-path", "directory of work files and logs");
const TCP_ESTABLISHED: Flag = Flag::switch("tcp-established", "allow open TCP connections");
const EXT_UNIX_SK: Flag = Flag::switch("ext-unix-sk", "allow unix sockets to processes outside");
const SHELL_JOB: Flag = Flag::switch("shell-job", "allow shell jobs");
const LAZY_PAGES: Flag = Flag::switch("lazy-pages", "fetch memory pages when they are used");
const FILE_LOCKS: Flag = Flag::switch("file-locks", "allow file locks");
const MANAGE_CGROUPS_MODE: Flag = Flag::text(
    "manage-cgroups-mode",
    "cgroups: soft, full or strict (default: soft)",
);
const EMPTY_NS: Flag = Flag::text("empty-ns", "make this namespace, but restore nothing of it");
const AUTO_DEDUP: Flag = Flag::switch("auto-dedup", "remove duplicates of memory pages from the images");

/// `checkpoint`.
pub const CHECKPOINT: Command = Command {
    name: "checkpoint",
    about: "checkpoint a running container (not supported yet)",
    usage: "<container-id>",
    details: "",
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        Flag::text("parent-path", "directory of the image files of an earlier dump"),
        Flag::switch("leave-running", "leave the container running"),
        TCP_ESTABLISHED,
        Flag::switch(
            "tcp-skip-in-flight",
            "leave out TCP connections that are being made",
        ),
        Flag::switch("link-remap", "allow files that were unlinked and are still open"),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        Flag::number(
            "status-fd",
            "descriptor that is written to when lazy pages are ready",
        ),
        Flag::text("page-server", "ADDRESS:PORT of the page server"),
        FILE_LOCKS,
        Flag::switch("pre-dump", "dump memory only and leave the container running"),
        MANAGE_CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
    ],
    arity: Arity::Exactly(1),
    flags_end: FlagsEnd::Never,
    failure: Failure::Plain,
    launches: false,
    run: refuse,
};

/// `restore`.
pub const RESTORE: Command = Command {
    name: "restore",
    about: "restore a container from a checkpoint (not supported yet)",
    flags: &[
        CONSOLE_SOCKET,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        MANAGE_CGROUPS_MODE,
        BUNDLE,
        Flag::switch("detach", "do not wait for the end of the container").short("d"),
        PID_FILE,
        Flag::switch(
            "no-subreaper",
            "do not reap processes that the container leaves behind",
        ),
        NO_PIVOT,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        Flag::text("lsm-profile", "security profile to restore with, as TYPE:NAME"),
        Flag::text(
            "lsm-mount-context",
            "security context of the mounts to restore with",
        ),
    ],
    ..CHECKPOINT
};

fn refuse(_: &Call) -> Result<u8> {
    Err(Error::new(
        Code::Unsupported,
        "checkpointing is not supported yet",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Refusal;

    #[test]
    fn probes_of_callers() {
        let probe = crate::cli::matches(&RESTORE, &["--lsm-mount-context"]);
        assert_eq!(
            probe,
            Err(Refusal::Wrong(
                "flag needs an argument: --lsm-mount-context".to_owned()
            ))
        );
        let line = ["-no-subreaper", "--lsm-profile=selinux:x", "--detach", "id"];
        assert!(
            crate::cli::matches(&RESTORE, &line)
                .unwrap()
                .switch("no-subreaper")
        );
        let line = ["--status-fd", "3", "--lazy-pages", "--file-locks", "id"];
        assert_eq!(
            crate::cli::matches(&CHECKPOINT, &line)
                .unwrap()
                .number("status-fd"),
            Some(3)
        );
    }
}
