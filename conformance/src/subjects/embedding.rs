//! The library inside of a program with many threads, and what happens between clone and exec.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::harness::prepare::{cache, workspace};
use crate::harness::{Ctx, Outcome, Stop, Test, beside, pace};
use crate::{check, check_eq, fail, skip};

const PEERS: &[(&str, &str)] = &[("crun", "builds the container in the child, with the heap")];

/// The rows of this subject.
pub const TESTS: &[Test] = &[
    Test::new("embedding/containers-from-32-threads", many_threads)
        .serial()
        .deadline(300),
    Test::new("embedding/init-has-no-std-in-its-source", no_std_in_the_source).host_only(),
    Test::new(
        "embedding/init-has-no-allocator-in-its-code",
        no_allocator_in_the_code,
    )
    .host_only()
    .deadline(180),
    Test::new("embedding/nothing-is-allocated-before-exec", |ctx| {
        nothing_allocated(ctx, "run")
    })
    .peers(PEERS),
    Test::new("embedding/nothing-is-allocated-before-exec-into", |ctx| {
        nothing_allocated(ctx, "exec")
    })
    .peers(PEERS),
];

/// What is about the library does not depend on the runtime under test.
fn of_the_library(ctx: &Ctx) -> Outcome {
    if !ctx.is("oci-rt") {
        skip!(
            "it is about the library of this workspace, not about {}",
            ctx.runtime_name
        );
    }
    Ok(())
}

fn many_threads(ctx: &Ctx) -> Outcome {
    of_the_library(ctx)?;
    let mut bundle = ctx.bundle()?;
    bundle.args(&["sleep", "1000"]).write()?;
    let count = if pace::slow() { 32 } else { 2000 };
    let output = ctx
        .command(beside("embed")?)
        .arg(&bundle.dir)
        .arg(&ctx.root)
        .args([ctx.fresh("e"), "32".to_string(), count.to_string()])
        .arg("/dev/null")
        .deadline(Duration::from_secs(240))
        .ok()?;
    let report = output.json()?;
    check_eq!(report["problems"], serde_json::json!([]), "problems in {report}");
    check_eq!(report["containers"], serde_json::json!(count), "containers");
    let lines = if pace::slow() { 100 } else { 10_000 };
    check!(
        report["events"].as_u64() > Some(lines),
        "it was not logged hard: {report}"
    );
    check_eq!(output.stderr, "", "stderr");
    Ok(())
}

fn init_crate() -> Outcome<PathBuf> {
    let dir = workspace().join("runtime-core/init");
    match dir.is_dir() {
        true => Ok(dir),
        false => Err(Stop::Failed(format!("no crate at {}", dir.display()))),
    }
}

fn sources(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Source without comments and without unit tests, which may use everything.
fn code(source: &str) -> String {
    let product = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = product
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn no_std_in_the_source(ctx: &Ctx) -> Outcome {
    of_the_library(ctx)?;
    let dir = init_crate()?;
    let root = fs::read_to_string(dir.join("src/lib.rs"))?;
    let attribute = root
        .lines()
        .any(|line| line.trim() == "#![no_std]" || line.trim() == "#![cfg_attr(not(test), no_std)]");
    check!(attribute, "the crate is not no_std");
    let files = sources(&dir.join("src"))?;
    check!(files.len() > 1, "only {} files", files.len());
    for file in files {
        let code = code(&fs::read_to_string(&file)?);
        for word in [
            "extern crate",
            "std::",
            "alloc::",
            "Vec<",
            "Box<",
            "String",
            "format!",
        ] {
            check!(!code.contains(word), "{} has {word:?}", file.display());
        }
    }
    let manifest = fs::read_to_string(dir.join("Cargo.toml"))?;
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let lines = section
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        check!(
            line.starts_with("libc") && line.contains("default-features = false"),
            "a dependency that may bring std: {line}"
        );
    }
    Ok(())
}

/// What the compiled crate wants from elsewhere: no allocator, nothing of std or alloc.
fn no_allocator_in_the_code(ctx: &Ctx) -> Outcome {
    of_the_library(ctx)?;
    init_crate()?;
    // Without link-time optimisation, or the library would hold no machine code yet.
    let target = cache("init").map_err(Stop::Failed)?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let build = ctx
        .command(cargo)
        .args(["build", "--quiet", "-p", "runtime-init", "--target-dir"])
        .arg(&target);
    build.cwd(workspace()).deadline(Duration::from_secs(150)).ok()?;
    let libraries: Vec<PathBuf> = libraries(&target)?;
    let [library] = libraries.as_slice() else {
        fail!("not one library of the crate: {libraries:?}");
    };
    let symbols = ctx
        .command("nm")
        .arg("--undefined-only")
        .arg(library)
        .quiet()
        .ok()?
        .stdout;
    let wanted: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.trim().strip_prefix("U "))
        .collect();
    check!(
        !wanted.is_empty(),
        "nm shows nothing that is undefined, not even of core: {symbols:?}"
    );
    for symbol in wanted {
        let name = symbol.trim();
        let of_libc = ["malloc", "calloc", "realloc", "free", "posix_memalign"].contains(&name);
        let of_rust = [
            "__rust_alloc",
            "__rust_realloc",
            "__rust_dealloc",
            "__rg_",
            "__rdl_",
            "3std",
            "5alloc",
        ];
        check!(
            !of_libc && !of_rust.iter().any(|part| name.contains(part)),
            "the code of init wants {name}"
        );
    }
    Ok(())
}

fn libraries(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            found.extend(libraries(&path)?);
        } else if name == "libruntime_init.rlib" {
            found.push(path);
        }
    }
    Ok(found)
}

/// What a process calls that gets memory or waits for a lock of another thread.
const MEMORY: &[(i64, &str)] = &[
    (libc::SYS_brk, "brk"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_mremap, "mremap"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_madvise, "madvise"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_mprotect, "mprotect"),
];

/// As the kernel sees it: no process that the runtime makes gets memory before it executes the program.
fn nothing_allocated(ctx: &Ctx, verb: &str) -> Outcome {
    let group = ctx.fresh("record");
    let mut bundle = ctx.bundle()?;
    bundle
        .args(&["sleep", "1000"])
        .set("/linux/cgroupsPath", serde_json::json!(format!("/{group}/c")))
        .write()?;
    let report = ctx
        .command(beside("sweep")?)
        .args(["--record", "--verb", verb, "--group", &group, "--runtime"])
        .arg(&ctx.runtime)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg("--root")
        .arg(ctx.dir.join("recorded"))
        .ok()?
        .json()?;
    let children = report["children"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let calls = |child: &Value| -> Vec<i64> {
        child
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect()
    };
    let executes = |call: &i64| [libc::SYS_execve, libc::SYS_execveat].contains(call);
    check!(
        children
            .iter()
            .any(|child| calls(child).last().is_some_and(executes)),
        "no child has executed anything"
    );
    for child in children {
        let calls = calls(child);
        check!(
            calls.len() > 10 || !calls.last().is_some_and(executes),
            "a child of {} calls: {calls:?}",
            calls.len()
        );
        for (number, name) in MEMORY {
            let place = calls.iter().position(|call| call == number);
            check!(
                place.is_none(),
                "{name} is call {place:?} of {} before exec",
                calls.len()
            );
        }
    }
    Ok(())
}
