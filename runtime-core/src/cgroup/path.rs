//! Paths of cgroups, as text: what is accepted from a configuration and from a state directory.

use crate::error::{Code, Error, Result};

/// A path from a configuration, without empty and `.` components. Whether it starts with a slash is kept: that
/// decides what it is relative to.
pub(super) fn clean(path: &str) -> Result<String> {
    let refuse = |why: &str| {
        Err(Error::new(Code::InvalidConfig, "resolve cgroup path")
            .operand(path)
            .reason(why))
    };
    if path.chars().any(char::is_control) {
        return refuse("it contains a control character");
    }
    let mut cleaned = String::with_capacity(path.len());
    for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name == ".." {
            return refuse("it contains \"..\"");
        }
        if name.len() > 255 {
            return refuse("a component is longer than 255 bytes");
        }
        cleaned.push('/');
        cleaned.push_str(name);
    }
    if cleaned.is_empty() {
        return refuse("it names the root cgroup");
    }
    if !path.starts_with('/') {
        cleaned.remove(0);
    }
    Ok(cleaned)
}

/// Whether `path` is one that [`clean`] makes of absolute paths.
pub(super) fn is_clean_absolute(path: &str) -> bool {
    path.starts_with('/') && clean(path).is_ok_and(|cleaned| cleaned == path)
}

/// `relative` below the absolute path `base`.
pub(super) fn join(base: &str, relative: &str) -> String {
    format!(
        "{}/{}",
        base.trim_end_matches('/'),
        relative.trim_start_matches('/')
    )
}

/// The part of `path` below `root`, with a leading slash; `None` when it is not below.
pub(super) fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let root = root.trim_end_matches('/');
    match path.strip_prefix(root)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// The parent of an absolute path; that of the root is the root.
pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => parent,
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_keeps_what_it_is_relative_to() {
        for (path, cleaned) in [
            ("/a/b", "/a/b"),
            ("a/b", "a/b"),
            ("//a/./b//", "/a/b"),
            ("./a", "a"),
            ("system.slice:runc:id", "system.slice:runc:id"),
            ("/a b/ü", "/a b/ü"),
            ("...", "..."),
            ("-rf", "-rf"),
        ] {
            assert_eq!(clean(path).unwrap(), cleaned, "{path:?}");
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        let long = "x".repeat(256);
        for path in [
            "", "/", ".", "//.", "..", "/..", "a/../b", "/a/..", "a\0b", "a\nb", "/a\tb", "\u{7f}", &long,
        ] {
            let error = clean(path).unwrap_err();
            assert_eq!(error.code(), Code::InvalidConfig, "{path:?}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(clean(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn parents_and_parts() {
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "/");
        assert_eq!(parent("/"), "/");
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/x", "a/b"), "/x/a/b");
        assert_eq!(below("/docker/abc", "/docker/abc/sub"), Some("/sub"));
        assert_eq!(below("/docker/abc", "/docker/abc"), Some("/"));
        assert_eq!(below("/docker/abc", "/docker/abcd"), None);
        assert_eq!(below("/", "/a"), Some("/a"));
        assert!(is_clean_absolute("/a/b"));
        for path in ["a", "/", "", "/a/", "/a//b", "/a/../b", "/a\n"] {
            assert!(!is_clean_absolute(path), "{path:?}");
        }
    }
}
