//! Where in a configuration something is. Costs nothing until there is something to say about it.

use std::fmt;

use crate::error::{Code, Error, Result};

/// A step down from the parent.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

/// A field, an element of a list or an entry of a map, and what it is in.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

impl<'a> Place<'a> {
    /// A field at the top.
    pub(super) const fn top(field: &'a str) -> Place<'a> {
        Place {
            parent: None,
            step: Step::Field(field),
        }
    }

    /// A field of this object.
    pub(super) const fn field(&'a self, name: &'a str) -> Place<'a> {
        Place {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    /// An element of this list.
    pub(super) const fn index(&'a self, index: usize) -> Place<'a> {
        Place {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// An entry of this map.
    pub(super) const fn key(&'a self, key: &'a str) -> Place<'a> {
        Place {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    /// The refusal of what is here.
    pub(super) fn refuse<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(Error::new(Code::InvalidConfig, "check configuration")
            .operand(self.to_string())
            .reason(reason))
    }

    /// Refuses strings that no system call can take.
    pub(super) fn check_string(&self, string: impl AsRef<[u8]>) -> Result<()> {
        if string.as_ref().contains(&0) {
            self.refuse("contains a NUL byte")
        } else {
            Ok(())
        }
    }

    /// The same for each of several.
    pub(super) fn check_strings(&self, strings: &[String]) -> Result<()> {
        for (index, string) in strings.iter().enumerate() {
            self.index(index).check_string(string)?;
        }
        Ok(())
    }

    /// The same for a path, which must start at the root as well.
    pub(super) fn check_absolute(&self, path: &std::path::Path) -> Result<()> {
        if path.as_os_str().is_empty() {
            return self.refuse("is missing or empty");
        }
        if !path.is_absolute() {
            return self.refuse(format!("must be an absolute path, is {path:?}"));
        }
        self.check_string(path.as_os_str().as_encoded_bytes())
    }

    /// Refuses numbers out of `range`.
    pub(super) fn check_range<T>(&self, number: T, range: std::ops::RangeInclusive<T>) -> Result<()>
    where
        T: PartialOrd + fmt::Display,
    {
        if range.contains(&number) {
            return Ok(());
        }
        self.refuse(format!(
            "must be {} to {}, is {number}",
            range.start(),
            range.end()
        ))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_none() => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            // A key may be anything, and is best not repeated in full when it is that long.
            Step::Key(key) if key.chars().count() > 64 => {
                let start: String = key.chars().take(64).collect();
                write!(f, "[{start}…]")
            }
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}
