//! The command line.

use std::path::PathBuf;

use crate::guest::PREFIX;

/// What `--help` prints.
pub const USAGE: &str = "\
Usage: conformance [OPTIONS]

Runs the conformance suite against a container runtime and ends with `N passed, N failed, N skipped`.

  --runtime PATH      the runtime to test (default: oci-rt, built from this workspace)
  --filter SUBSTRING  only tests whose name contains this; may be repeated
  --list              list the tests, run nothing
  --junit FILE        write the results as JUnit XML, too
  --jobs N            tests at a time (default: the number of processors, at least 2)
  --guest             run the suite in the guest with cgroups of version 2 only, and nothing on this host
  --no-guest          leave out the guest, which otherwise runs the suite at the end, unless there is a filter
  --rows FILE         append every row as a line of JSON, as it comes in
  --stretch N         give everything N times as long, as under emulation
  --no-unit           leave out the unit tests of the workspace
  --no-build          build nothing: the programs are beside this executable already
  --no-install        install no Debian packages
";

/// What this invocation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The whole suite.
    Suite,
    /// Lists the tests.
    List,
    /// Prints the usage.
    Help,
    /// One test in this process, as the suite starts itself for every test.
    One {
        /// The test's name.
        name: String,
        /// The directory that is the test's own.
        dir: PathBuf,
    },
}

/// Where the guest comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// After the tests on this host.
    After,
    /// Without tests on this host.
    Alone,
    /// Not at all.
    Never,
}

/// The options after parsing.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to do.
    pub mode: Mode,
    /// `--runtime`
    pub runtime: Option<PathBuf>,
    /// `--filter`, all of them; a test runs when any matches.
    pub filters: Vec<String>,
    /// `--junit`
    pub junit: Option<PathBuf>,
    /// `--jobs`
    pub jobs: usize,
    /// Where the guest comes in.
    pub guest: Guest,
    /// `--in-guest`: this is the guest.
    pub in_guest: bool,
    /// `--rows`
    pub rows: Option<PathBuf>,
    /// `--stretch`, the factor of all deadlines
    pub stretch: u32,
    /// Cleared by `--no-unit`.
    pub unit: bool,
    /// Cleared by `--no-build`.
    pub build: bool,
    /// Cleared by `--no-install`.
    pub install: bool,
}

impl Options {
    /// Reads the arguments after the program's name.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let processors = std::thread::available_parallelism().map_or(2, |n| n.get());
        let mut options = Options {
            mode: Mode::Suite,
            runtime: None,
            filters: Vec::new(),
            junit: None,
            jobs: processors.max(2),
            guest: Guest::After,
            in_guest: false,
            rows: None,
            stretch: 1,
            unit: true,
            build: true,
            install: true,
        };
        while let Some(arg) = args.next() {
            let (flag, inline) = match arg.split_once('=') {
                Some((flag, value)) => (flag.to_string(), Some(value.to_string())),
                None => (arg, None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| args.next())
                    .ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag.as_str() {
                "--runtime" => options.runtime = Some(PathBuf::from(value()?)),
                "--filter" => options.filters.push(value()?),
                "--junit" => options.junit = Some(PathBuf::from(value()?)),
                "--jobs" => {
                    let jobs: usize = value()?
                        .parse()
                        .map_err(|_| "--jobs needs a number".to_string())?;
                    options.jobs = jobs.max(1);
                }
                "--stretch" => {
                    options.stretch = value()?
                        .parse()
                        .map_err(|_| "--stretch needs a number".to_string())?;
                }
                "--one" => {
                    let name = value()?;
                    let dir = PathBuf::from(value()?);
                    options.mode = Mode::One { name, dir };
                }
                "--list" => options.mode = Mode::List,
                "--no-unit" => options.unit = false,
                "--rows" => options.rows = Some(PathBuf::from(value()?)),
                "--in-guest" => (options.in_guest, options.guest) = (true, Guest::Never),
                "--guest" => options.guest = Guest::Alone,
                "--no-guest" => options.guest = Guest::Never,
                "--no-build" => options.build = false,
                "--no-install" => options.install = false,
                "-h" | "--help" => options.mode = Mode::Help,
                other => return Err(format!("unknown argument {other:?}; see --help")),
            }
        }
        Ok(options)
    }

    /// Whether the guest is to be booted: with filters only if one of them asks for its rows.
    pub fn wants_guest(&self) -> bool {
        let asked =
            || self.filters.is_empty() || self.filters.iter().any(|filter| filter.starts_with(PREFIX));
        self.guest == Guest::Alone || self.guest == Guest::After && asked()
    }

    /// Whether a test of this name is to run.
    pub fn selects(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(|arg| arg.to_string()))
    }

    #[test]
    fn values_come_inline_or_next() {
        let options = parse(&[
            "--runtime=/bin/a",
            "--filter",
            "x",
            "--filter",
            "y",
            "--jobs",
            "3",
        ])
        .unwrap();
        assert_eq!(options.runtime, Some(PathBuf::from("/bin/a")));
        assert_eq!(options.jobs, 3);
        assert!(options.selects("has-y") && !options.selects("none"));
    }

    #[test]
    fn a_missing_value_and_an_unknown_flag_are_refused() {
        assert!(parse(&["--runtime"]).is_err());
        assert!(parse(&["--frob"]).is_err());
    }
}
